//! The PROXY protocol together with other features.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{binary, connect_behind, line, CLAIMED, REQUIRE};
use crate::client::{tcp, Client, Wire};
use crate::process::{eventually, playground, playground_at, playground_with_tls, playground_with_tls_and};
use crate::tls::{adds_up, TestCerts, BACKENDS};
use crate::HANDLERS;

#[test]
fn the_header_comes_before_tls() {
    let certs = TestCerts::new("proxy-tls");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("{REQUIRE} --handler {handler}"));
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let mut tcp = tcp(playground.address()).unwrap();
                tcp.write_all(&header).unwrap();
                let mut client = Client::over(certs.secure(tcp).unwrap(), Wire::Lines);
                assert_eq!(client.ask("!peer"), CLAIMED, "{backend} {handler}");
                assert_ne!(client.ask("!tls"), "none");
                client.send("!bye bye");
                assert_eq!(client.until_the_end(), "bye\n", "{backend} {handler}");
            }
            // TLS without a header and a header inside TLS are both invalid.
            assert!(certs.secure(tcp(playground.address()).unwrap()).is_err());
            playground.has_closed("handshake", 1);
        }
    }
}

/// The header and the ClientHello in one write.
#[test]
fn the_client_hello_may_follow_the_header_directly() {
    let certs = TestCerts::new("proxy-hello");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("{REQUIRE} --handler {handler}"));
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let tls = certs.secure_behind(&header, tcp(playground.address()).unwrap());
                assert_eq!(Client::over(tls, Wire::Lines).ask("!peer"), CLAIMED, "{backend} {handler}");
            }
        }
    }
}

#[test]
fn header_and_tls_share_one_timeout() {
    let certs = TestCerts::new("proxy-time");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground =
                certs.playground(backend, &format!("{REQUIRE} --handler {handler} --handshake-timeout 400"));
            let began = Instant::now();
            let mut tcp = tcp(playground.address()).unwrap();
            tcp.write_all(&line(CLAIMED)).unwrap();
            tcp.write_all(&certs.hello()[..10]).unwrap();
            let _ = tcp.read_to_end(&mut Vec::new());
            assert!(began.elapsed() >= Duration::from_millis(400), "{backend} {handler}: early");
            playground.has_closed("handshake", 1);
            adds_up(&playground.json("info"));
        }
    }
}

#[test]
fn starttls_keeps_the_claimed_address() {
    let certs = TestCerts::new("proxy-starttls");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = playground(&format!("{} {REQUIRE} --handler {handler}", certs.options(backend)));
            let mut client = connect_behind(&playground, &line(CLAIMED));
            assert_eq!(client.ask("!starttls"), "go ahead");
            let mut client = Client::over(certs.secure(client.into_tcp()).unwrap(), Wire::Lines);
            assert_eq!(client.ask("!peer"), CLAIMED, "{backend} {handler}");
            // A header inside TLS is data.
            let header = "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443";
            assert_eq!(client.ask(header), header);
            assert_eq!(client.ask("!peer"), CLAIMED, "{backend} {handler}");
        }
    }
}

#[test]
fn a_connection_can_be_killed_and_drained_during_its_header() {
    for handler in HANDLERS {
        let playground = playground(&format!("{REQUIRE} --handler {handler} --goodbye bye"));
        let mut first = connect_behind(&playground, &line(CLAIMED)[..20]);
        eventually(|| playground.json("info")["accepted"] == json!(1));
        assert_eq!(playground.command("kill 1"), "ok");
        assert_eq!(first.until_gone(), "", "{handler}");
        playground.has_closed("killed", 1);
        let mut late = connect_behind(&playground, &line(CLAIMED)[..20]);
        eventually(|| playground.json("info")["accepted"] == json!(2));
        let (mut console, mut other) = (playground.console(), playground.console());
        assert!(other.ask("info").contains("running"));
        console.send("drain 15000");
        eventually(|| other.ask("info").contains("draining"));
        late.send_wire(&line(CLAIMED)[20..]);
        assert_eq!(late.until_gone(), "bye\n", "{handler}");
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
fn unix_peers_send_headers_when_trusted() {
    for handler in HANDLERS {
        let path = std::env::temp_dir().join(format!("playground-{}-proxy-{handler}.sock", std::process::id()));
        let (url, path) = (format!("unix://{}", path.display()), path.to_str().unwrap());
        let options = format!("--framing lines --handler {handler} --trusted-proxy unix: --proxy-protocol");
        {
            let playground = playground_at(&url, &format!("{options} require"));
            let header = String::from_utf8(line(CLAIMED)).unwrap();
            assert_eq!(over_unix(path, format!("{header}!peer\n").as_bytes()), format!("{CLAIMED}\n"), "{handler}");
            assert_eq!(over_unix(path, b"!peer\n"), "", "{handler}");
            playground.has_closed("handshake", 1);
            playground.command("drain 1000");
            assert_eq!(playground.ended().code, Some(0));
        }
        {
            let playground = playground_at(&url, &format!("{options} optional"));
            assert_eq!(over_unix(path, b"!peer\n"), "unnamed\n", "{handler}");
            assert_eq!(over_unix(path, &[binary(CLAIMED), b"!peer\n".to_vec()].concat()), format!("{CLAIMED}\n"));
            playground.command("drain 1000");
            assert_eq!(playground.ended().code, Some(0));
        }
        // The peer of a Unix socket is in no address block.
        let playground = playground_at(&url, &format!("{REQUIRE} --handler {handler}"));
        assert_eq!(over_unix(path, &line(CLAIMED)), "", "{handler}");
        eventually(|| playground.json("info")["refused"]["denied"] == json!(1));
        playground.command("drain 1000");
        assert_eq!(playground.ended().code, Some(0));
    }
}

#[test]
fn ping_and_chat_work_behind_a_load_balancer() {
    let certs = TestCerts::new("proxy-handlers");
    let proxy = "--proxy-protocol require --trusted-proxy 127.0.0.0/8";
    for backend in BACKENDS {
        let playground = playground_with_tls(&format!("{} {proxy} --handler ping", certs.options(backend)));
        let tls = certs.secure_behind(&binary(CLAIMED), tcp(playground.address()).unwrap());
        assert_eq!(Client::over(tls, playground.wire()).ask("ping"), "pong");

        let playground = playground_with_tls(&format!("{} {proxy} --handler chat", certs.options(backend)));
        let join = || {
            let tls = certs.secure_behind(&line(CLAIMED), tcp(playground.address()).unwrap());
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
fn all_options_work_together() {
    let certs = TestCerts::new("everything");
    for handler in HANDLERS {
        let options = format!(
            "{} {REQUIRE} --handler {handler} --listen tcp://127.0.0.1:0 --alpn echo --client-ca {} --max-per-ip 2 \
             --deny 203.0.113.9 --greeting welcome --goodbye bye --half-close --handshake-timeout 2000 \
             --max-connections 50 --at-limit close --sni other.example={},{}",
            certs.options("rustls"),
            certs.pki.authority().display(),
            certs.certificate.display(),
            certs.key.display(),
        );
        let alice = certs.pki.issue("alice.example");
        let playground = playground_with_tls_and(1, &options);
        let secure = |header: &[u8]| {
            let mut config = certs.pki.client(Some(&alice));
            config.alpn_protocols = vec![b"echo".to_vec()];
            let mut tcp = tcp(playground.address()).unwrap();
            tcp.write_all(header).unwrap();
            Client::over(crate::link::rustls(config, "localhost", tcp).unwrap(), Wire::Lines)
        };
        let mut one = secure(&line(CLAIMED));
        one.expect(&["welcome"]);
        assert_eq!(one.ask("!tls"), "TLSv1.3 alpn=echo sni=localhost subject=alice.example", "{handler}");
        let mut two = Client::connect(playground.addresses()[1], Wire::Lines);
        two.send_wire(&binary("203.0.113.7:1"));
        two.expect(&["welcome"]);
        assert_eq!(two.ask("!starttls"), "go ahead");
        let tls = crate::link::rustls(certs.pki.client(Some(&alice)), "localhost", two.into_tcp()).unwrap();
        let mut two = Client::over(tls, Wire::Lines);
        assert_eq!(two.ask("!peer"), "203.0.113.7:1");
        assert_eq!(two.ask("!tls"), "TLSv1.3 alpn=- sni=localhost subject=alice.example", "{handler}");
        let mut third = Client::connect(playground.addresses()[1], Wire::Lines);
        third.send_wire(&binary("203.0.113.7:2"));
        assert_eq!(third.until_gone(), "", "{handler}");
        let mut denied = Client::connect(playground.addresses()[1], Wire::Lines);
        denied.send_wire(&binary("203.0.113.9:2"));
        assert_eq!(denied.until_gone(), "", "{handler}");
        assert_eq!(playground.command("reload-tls"), "ok");
        assert_eq!(playground.command("suspend hold"), "ok");
        assert_eq!(playground.command("resume"), "ok");
        adds_up(&playground.json("info"));
        let list = playground.json("list");
        let shown = [0, 1].map(|at| (list[at]["peer"].clone(), list[at]["listener"].clone()));
        let urls = playground.urls();
        assert_eq!(shown, [(json!(CLAIMED), json!(urls[0])), (json!("203.0.113.7:1"), json!(urls[1]))], "{handler}");
        let report = playground.json("drain 15000");
        assert_eq!((&report["finished"], &report["forced"]), (&json!(2), &json!(0)), "{handler}");
        for client in [&mut one, &mut two] {
            assert_eq!(client.until_the_end(), "bye\n", "{handler}");
        }
        assert!(!playground.ended().stderr.contains("panicked"));
    }
}
