//! A program with a pool and its dashboard, and peers that connect to the pool.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_acceptor::prelude::*;
use actix_acceptor::transport::{Memory, MemoryConnector};
use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::webdriver::LIMIT;

/// A peer sets its label with `label TEXT`, joins a topic with `join TOPIC` and registers with `name NAME`. Each line comes
/// back.
struct Chat;

impl Protocol for Chat {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let text = String::from_utf8_lossy(&line);
        let (command, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match command {
            "label" => conn.set_label(rest.replace("\\n", "\n")),
            "join" => drop(conn.join(&conn.pool().topic(rest))),
            "name" => drop(conn.register(rest)),
            _ => {}
        }
        Next::Send(line)
    }
}

/// How the program is started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) token: Option<&'static str>,
    pub(crate) is_read_only: bool,
    /// Adds a second pool, `feed`.
    pub(crate) has_feed: bool,
    /// Connections in memory, which need no descriptors. A thousand of them send a line each second.
    pub(crate) crowd: usize,
    /// The port of the dashboard. 0: a free one.
    pub(crate) port: u16,
}

/// The program, on a thread. It ends with this value.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) pool: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(options: Options) -> Self {
        let (started, starts) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(run(options, &started));
        });
        let (port, pool, handle) = starts.recv_timeout(LIMIT).expect("the server starts");
        Server { port, pool, handle, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/dashboard/", self.port)
    }

    /// A peer with this label.
    pub(crate) fn peer(&self, label: &str) -> Peer {
        let mut peer = Peer::connect(self.pool);
        peer.ask(&format!("label {label}"));
        peer
    }
}

async fn run(options: Options, started: &mpsc::Sender<(u16, SocketAddr, ServerHandle)>) {
    let new = || AcceptorPool::with_protocol(|_| Chat).framing(Framing::lines()).acceptors(1).idle_timeout(None);
    let (memory, connector) = Memory::new("crowd");
    let mut chat = new().name("chat").listener(Listener::tcp("127.0.0.1:0").name("chat"));
    if options.crowd > 0 {
        chat = chat.listener(Listener::from_transport(memory)).max_connections(1_000_000);
    }
    let pool = chat.start().await.expect("the pool starts");
    let feed = new().name("feed").bind("127.0.0.1:0").await.expect("the pool starts");
    let of_pool = DashboardPool::with_text(&pool, Bytes::from).on_reload_certificates(|| Ok(()));
    let mut dashboard = Dashboard::new(of_pool).read_only(options.is_read_only);
    if let Some(token) = options.token {
        dashboard = dashboard.token(token);
    }
    if options.has_feed {
        dashboard = dashboard.pool(&feed);
    }
    let server = HttpServer::new(move || App::new().service(dashboard.clone())).workers(1).disable_signals();
    let server = server.bind(("127.0.0.1", options.port)).expect("the port is free");
    let port = server.addrs()[0].port();
    let server = server.run();
    if options.crowd > 0 {
        gather(&connector, options.crowd).await;
    }
    let _ = started.send((port, pool.local_addr().expect("a TCP address"), server.handle()));
    server.await.expect("the server runs");
    pool.stop(None).await;
    feed.stop(None).await;
}

/// Connects peers, which stay, and has some of them send lines.
async fn gather(connector: &MemoryConnector, count: usize) {
    let mut peers = Vec::with_capacity(count);
    for number in 0..count {
        let mut peer = connector.connect().await.expect("the pool accepts");
        peer.write_all(format!("label guest {number}\n").as_bytes()).await.expect("the connection is open");
        peers.push(peer);
    }
    actix_rt::spawn(async move {
        let mut answer = [0; 64];
        for turn in 0.. {
            let peer = &mut peers[turn * 7_919 % count];
            // Until the pool ends.
            if peer.write_all(b"hello\n").await.is_err() || peer.read(&mut answer).await.is_err() {
                return;
            }
            if turn % 10 == 0 {
                actix_rt::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, as if the process was killed.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A TCP peer.
pub(crate) struct Peer(pub(crate) BufReader<TcpStream>);

impl Peer {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, LIMIT).expect("the pool accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        Peer(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("the connection is open");
    }

    /// The next line, or `None` at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        read.is_ok_and(|length| length > 0).then(|| line.trim_end().to_owned())
    }

    /// Sends a line, which comes back.
    pub(crate) fn ask(&mut self, line: &str) {
        self.send(line);
        assert_eq!(self.line().as_deref(), Some(line));
    }

    /// Whether the connection ends without another line.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.line().is_none()
    }
}

/// Whether a new connection is refused: it cannot be made, or ends at once.
pub(crate) fn is_refused(to: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_secs(10)) else { return true };
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut peer = Peer(BufReader::new(stream));
    let _ = peer.0.get_mut().write_all(b"hello\n");
    peer.has_ended()
}

/// A program that reads the updates of the dashboard.
pub(crate) struct Viewer(BufReader<TcpStream>);

impl Viewer {
    pub(crate) fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("the dashboard is open");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let request = format!("GET /dashboard/stream HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", server.port);
        stream.write_all(request.as_bytes()).expect("the request is sent");
        Viewer(BufReader::new(stream))
    }

    /// Reads until an update counts this number of viewers.
    pub(crate) fn until_viewers(&mut self, viewers: usize) {
        self.until(&format!("\"viewers\":{viewers}}}"));
    }

    /// Reads until an update contains a text.
    pub(crate) fn until(&mut self, text: &str) {
        let started = Instant::now();
        for line in self.0.by_ref().lines() {
            if line.expect("the updates go on").contains(text) {
                return;
            }
            assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {text}");
        }
        panic!("the updates have ended");
    }
}
