//! The example `with_actix_web`: a chat and an HTTP API in one process, with one shutdown.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::*;

use super::example::Example;

const NOTHING: &str = "settings.max_connections = 100";

struct Server {
    example: Example,
    chat: SocketAddr,
    http: SocketAddr,
    folder: Folder,
}

impl Server {
    fn start(config: &str) -> Server {
        let folder = Folder::create();
        let file = folder.path("chat.toml");
        std::fs::write(&file, config).unwrap();
        let mut example = Example::start("with_actix_web", &["127.0.0.1:0", "127.0.0.1:0", file.to_str().unwrap()]);
        let line = example.line();
        let (chat, rest) = line.strip_prefix("chat on ").unwrap().split_once(", HTTP on ").unwrap();
        let http = rest.split_once(',').unwrap().0;
        Server { chat: chat.parse().unwrap(), http: http.parse().unwrap(), example, folder }
    }

    fn guest(&self, name: &str) -> BlockingPeer {
        let mut guest = BlockingPeer::connect(self.chat);
        guest.expect("your name?\n");
        guest.send(format!("{name}\n"));
        guest.expect(format!("welcome, {name}\n"));
        guest
    }

    /// Sends a request, and returns the status and the body of the answer.
    fn request(&self, line: &str, body: &str) -> (u16, String) {
        let mut request = HttpRequest::begin(self.http, line, body.len());
        request.finish(body)
    }

    /// How the process has ended, and its last line.
    fn ended(mut self) -> String {
        let last = self.example.line();
        assert!(self.example.child.wait().unwrap().success());
        last
    }
}

/// A request whose body has not been sent yet.
struct HttpRequest(TcpStream);

impl HttpRequest {
    fn begin(http: SocketAddr, line: &str, length: usize) -> HttpRequest {
        let mut stream = TcpStream::connect(http).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: chat\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        HttpRequest(stream)
    }

    fn finish(&mut self, body: &str) -> (u16, String) {
        self.0.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

#[test]
fn the_api_lists_addresses_and_kicks_guests() {
    let server = Server::start(NOTHING);
    let (mut ann, mut bob) = (server.guest("ann"), server.guest("bob"));
    assert_eq!(server.request("GET /guests", ""), (200, r#"["ann","bob"]"#.to_owned()));
    ann.send("hello\n");
    bob.expect("ann: hello\n");
    assert_eq!(server.request("POST /say", "dinner is ready"), (200, "2".to_owned()));
    ann.expect("server: dinner is ready\n");
    bob.expect("server: dinner is ready\n");
    assert_eq!(server.request("DELETE /guests/ann", "").0, 204);
    assert_eq!(ann.read_to_end(), b"you have been kicked\n");
    assert_eq!(server.request("DELETE /guests/ann", "").0, 404);
    assert_eq!(server.request("GET /guests", ""), (200, r#"["bob"]"#.to_owned()));
    assert_eq!(server.request("GET /ready", "").0, 200);
}

#[test]
fn sighup_reloads_the_configuration_of_the_chat() {
    let mut server = Server::start(NOTHING);
    let mut ann = server.guest("ann");
    std::fs::write(server.folder.path("chat.toml"), "settings.max_connections = 200").unwrap();
    server.example.signal(Signal::HUP);
    assert_eq!(server.example.line(), "reloaded: max_connections: 100 -> 200");
    std::fs::write(server.folder.path("chat.toml"), "settings.max_connections = 0").unwrap();
    server.example.signal(Signal::HUP);
    let refused = server.example.line();
    assert!(refused.contains("max_connections: must be at least 1 (got 0)"), "{refused}");
    ann.send("still there\n");
    assert_eq!(server.request("GET /guests", ""), (200, r#"["ann"]"#.to_owned()));
}

#[test]
fn one_sigterm_ends_a_busy_chat_and_a_busy_api() {
    let server = Server::start(NOTHING);
    let mut guests = [server.guest("ann"), server.guest("bob")];
    let text = "the last words";
    let mut request = HttpRequest::begin(server.http, "POST /say", text.len());
    assert_eq!(server.request("GET /guests", "").0, 200);
    server.example.signal(Signal::TERM);
    for guest in &mut guests {
        assert_eq!(guest.read_to_end(), b"goodbye\n");
    }
    // The request that was under way is answered.
    assert_eq!(request.finish(text), (200, "0".to_owned()));
    assert_eq!(server.ended(), "2 guests, 0 cut off");
}

#[test]
fn the_api_answers_during_a_drain_until_a_second_signal() {
    let server = Server::start("drain = { grace = '1h', delay = '1h' }");
    let mut ann = server.guest("ann");
    server.example.signal(Signal::TERM);
    while server.request("GET /ready", "").0 != 503 {}
    ann.send("hello\n");
    assert_eq!(server.request("GET /guests", ""), (200, r#"["ann"]"#.to_owned()));
    let began = Instant::now();
    server.example.signal(Signal::INT);
    assert_eq!(ann.read_to_end(), b"");
    assert_eq!(server.ended(), "1 guests, 1 cut off");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_does_not_wait_for_a_request() {
    let server = Server::start(NOTHING);
    let mut ann = server.guest("ann");
    let _request = HttpRequest::begin(server.http, "POST /say", 10);
    assert_eq!(server.request("GET /guests", "").0, 200);
    server.example.signal(Signal::TERM);
    assert_eq!(ann.read_to_end(), b"goodbye\n");
    // Now the web server stops: its port is closed, and only the request is left.
    while TcpStream::connect(server.http).is_ok() {}
    let began = Instant::now();
    server.example.signal(Signal::TERM);
    assert_eq!(server.ended(), "1 guests, 0 cut off");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
