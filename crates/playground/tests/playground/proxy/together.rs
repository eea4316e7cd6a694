//! The PROXY protocol together with everything else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{behind, binary, line, CLAIMED, REQUIRE};
use crate::client::{tcp, Client, Wire};
use crate::process::{eventually, playground, playground_at, playground_with_tls, playground_with_tls_and};
use crate::tls::{adds_up, Papers, BACKENDS};
use crate::DOORS;

#[test]
fn the_header_comes_before_tls() {
    let papers = Papers::new("proxy-tls");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("{REQUIRE} --handler {door}"));
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let mut tcp = tcp(playground.address()).unwrap();
                tcp.write_all(&header).unwrap();
                let mut client = Client::over(papers.secure(tcp).unwrap(), Wire::Lines);
                assert_eq!(client.ask("!peer"), CLAIMED, "{backend} {door}");
                assert_ne!(client.ask("!tls"), "none");
                client.send("!bye bye");
                assert_eq!(client.until_the_end(), "bye\n", "{backend} {door}");
            }
            // TLS without a header, and a header within TLS, are none.
            assert!(papers.secure(tcp(playground.address()).unwrap()).is_err());
            playground.has_closed("handshake", 1);
        }
    }
}

/// The header and the client's first word in one write.
#[test]
fn the_first_word_of_tls_may_stand_right_behind_the_header() {
    let papers = Papers::new("proxy-hello");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("{REQUIRE} --handler {door}"));
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let tls = papers.secure_behind(&header, tcp(playground.address()).unwrap());
                assert_eq!(Client::over(tls, Wire::Lines).ask("!peer"), CLAIMED, "{backend} {door}");
            }
        }
    }
}

#[test]
fn header_and_handshake_have_their_time_together() {
    let papers = Papers::new("proxy-time");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("{REQUIRE} --handler {door} --handshake-timeout 400"));
            let began = Instant::now();
            let mut tcp = tcp(playground.address()).unwrap();
            tcp.write_all(&line(CLAIMED)).unwrap();
            tcp.write_all(&papers.hello()[..10]).unwrap();
            let _ = tcp.read_to_end(&mut Vec::new());
            assert!(began.elapsed() >= Duration::from_millis(400), "{backend} {door}: early");
            playground.has_closed("handshake", 1);
            adds_up(&playground.json("info"));
        }
    }
}

#[test]
fn starttls_behind_a_header_keeps_the_claimed_peer() {
    let papers = Papers::new("proxy-starttls");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = playground(&format!("{} {REQUIRE} --handler {door}", papers.options(backend)));
            let mut client = behind(&playground, &line(CLAIMED));
            assert_eq!(client.ask("!starttls"), "go ahead");
            let mut client = Client::over(papers.secure(client.into_tcp()).unwrap(), Wire::Lines);
            assert_eq!(client.ask("!peer"), CLAIMED, "{backend} {door}");
            // A header under TLS is data.
            let header = "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443";
            assert_eq!(client.ask(header), header);
            assert_eq!(client.ask("!peer"), CLAIMED, "{backend} {door}");
        }
    }
}

#[test]
fn one_in_the_middle_of_its_header_can_be_killed_and_drained() {
    for door in DOORS {
        let playground = playground(&format!("{REQUIRE} --handler {door} --goodbye bye"));
        let mut first = behind(&playground, &line(CLAIMED)[..20]);
        eventually(|| playground.json("info")["accepted"] == json!(1));
        assert_eq!(playground.command("kill 1"), "ok");
        assert_eq!(first.until_gone(), "", "{door}");
        playground.has_closed("killed", 1);
        let mut late = behind(&playground, &line(CLAIMED)[..20]);
        eventually(|| playground.json("info")["accepted"] == json!(2));
        let (mut console, mut other) = (playground.console(), playground.console());
        assert!(other.ask("info").contains("running"));
        console.send("drain 15000");
        eventually(|| other.ask("info").contains("draining"));
        late.send_wire(&line(CLAIMED)[20..]);
        assert_eq!(late.until_gone(), "bye\n", "{door}");
        assert!(console.receive().contains("\"forced\":0"));
    }
}

fn over_unix(path: &str, bytes: &[u8]) -> String {
    let mut unix = UnixStream::connect(path).unwrap();
    unix.set_read_timeout(Some(crate::process::PATIENCE)).unwrap();
    let _ = unix.write_all(bytes);
    let _ = unix.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = unix.read_to_string(&mut answer);
    answer
}

#[test]
fn a_unix_socket_has_headers_where_its_peers_are_trusted() {
    for door in DOORS {
        let path = std::env::temp_dir().join(format!("playground-{}-proxy-{door}.sock", std::process::id()));
        let (url, path) = (format!("unix://{}", path.display()), path.to_str().unwrap());
        let options = format!("--framing lines --handler {door} --trusted-proxy unix: --proxy-protocol");
        {
            let playground = playground_at(&url, &format!("{options} require"));
            let header = String::from_utf8(line(CLAIMED)).unwrap();
            assert_eq!(over_unix(path, format!("{header}!peer\n").as_bytes()), format!("{CLAIMED}\n"), "{door}");
            assert_eq!(over_unix(path, b"!peer\n"), "", "{door}");
            playground.has_closed("handshake", 1);
            playground.command("drain 1000");
            assert_eq!(playground.ended().code, Some(0));
        }
        {
            let playground = playground_at(&url, &format!("{options} optional"));
            assert_eq!(over_unix(path, b"!peer\n"), "unnamed\n", "{door}");
            assert_eq!(over_unix(path, &[binary(CLAIMED), b"!peer\n".to_vec()].concat()), format!("{CLAIMED}\n"));
            playground.command("drain 1000");
            assert_eq!(playground.ended().code, Some(0));
        }
        // The peer of a Unix socket is in no block of addresses.
        let playground = playground_at(&url, &format!("{REQUIRE} --handler {door}"));
        assert_eq!(over_unix(path, &line(CLAIMED)), "", "{door}");
        eventually(|| playground.json("info")["refused"]["denied"] == json!(1));
        playground.command("drain 1000");
        assert_eq!(playground.ended().code, Some(0));
    }
}

#[test]
fn ping_and_chat_are_behind_a_load_balancer_too() {
    let papers = Papers::new("proxy-handlers");
    let proxy = "--proxy-protocol require --trusted-proxy 127.0.0.0/8";
    for backend in BACKENDS {
        let playground = playground_with_tls(&format!("{} {proxy} --handler ping", papers.options(backend)));
        let tls = papers.secure_behind(&binary(CLAIMED), tcp(playground.address()).unwrap());
        assert_eq!(Client::over(tls, playground.wire()).ask("ping"), "pong");

        let playground = playground_with_tls(&format!("{} {proxy} --handler chat", papers.options(backend)));
        let join = || {
            let tls = papers.secure_behind(&line(CLAIMED), tcp(playground.address()).unwrap());
            let mut client = Client::over(tls, playground.wire());
            client.ask("/who");
            client
        };
        let (mut one, mut two) = (join(), join());
        one.expect(&["* guest-2 joined"]);
        two.send("hello");
        one.expect(&["guest-2: hello"]);
    }
}

#[test]
fn everything_at_once() {
    let papers = Papers::new("everything");
    for door in DOORS {
        let options = format!(
            "{} {REQUIRE} --handler {door} --listen tcp://127.0.0.1:0 --alpn echo --client-ca {} --max-per-ip 2 \
             --deny 203.0.113.9 --greeting welcome --goodbye bye --half-close --handshake-timeout 2000 \
             --max-connections 50 --at-limit close --sni other.example={},{}",
            papers.options("rustls"),
            papers.pki.authority().display(),
            papers.certificate.display(),
            papers.key.display(),
        );
        let alice = papers.pki.issue("alice.example");
        let playground = playground_with_tls_and(1, &options);
        let secure = |header: &[u8]| {
            let mut config = papers.pki.client(Some(&alice));
            config.alpn_protocols = vec![b"echo".to_vec()];
            let mut tcp = tcp(playground.address()).unwrap();
            tcp.write_all(header).unwrap();
            Client::over(crate::link::rustls(config, "localhost", tcp).unwrap(), Wire::Lines)
        };
        let mut one = secure(&line(CLAIMED));
        one.expect(&["welcome"]);
        assert_eq!(one.ask("!tls"), "TLSv1.3 alpn=echo sni=localhost subject=alice.example", "{door}");
        let mut two = Client::connect(playground.addresses()[1], Wire::Lines);
        two.send_wire(&binary("203.0.113.7:1"));
        two.expect(&["welcome"]);
        assert_eq!(two.ask("!starttls"), "go ahead");
        let tls = crate::link::rustls(papers.pki.client(Some(&alice)), "localhost", two.into_tcp()).unwrap();
        let mut two = Client::over(tls, Wire::Lines);
        assert_eq!(two.ask("!peer"), "203.0.113.7:1");
        assert_eq!(two.ask("!tls"), "TLSv1.3 alpn=- sni=localhost subject=alice.example", "{door}");
        let mut third = Client::connect(playground.addresses()[1], Wire::Lines);
        third.send_wire(&binary("203.0.113.7:2"));
        assert_eq!(third.until_gone(), "", "{door}");
        let mut denied = Client::connect(playground.addresses()[1], Wire::Lines);
        denied.send_wire(&binary("203.0.113.9:2"));
        assert_eq!(denied.until_gone(), "", "{door}");
        assert_eq!(playground.command("reload-tls"), "ok");
        assert_eq!(playground.command("suspend hold"), "ok");
        assert_eq!(playground.command("resume"), "ok");
        adds_up(&playground.json("info"));
        let list = playground.json("list");
        let shown = [0, 1].map(|at| (list[at]["peer"].clone(), list[at]["listener"].clone()));
        let urls = playground.urls();
        assert_eq!(shown, [(json!(CLAIMED), json!(urls[0])), (json!("203.0.113.7:1"), json!(urls[1]))], "{door}");
        let report = playground.json("drain 15000");
        assert_eq!((&report["finished"], &report["forced"]), (&json!(2), &json!(0)), "{door}");
        for client in [&mut one, &mut two] {
            assert_eq!(client.until_the_end(), "bye\n", "{door}");
        }
        assert!(!playground.ended().stderr.contains("panicked"));
    }
}
