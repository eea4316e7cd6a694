//! `set OPTION VALUE` for every option, and the short forms `max` and `exempt`.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Wire};
use crate::process::{eventually, playground};
use crate::HANDLERS;

const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn each_option_changes_live_or_reports_that_it_cannot() {
    let playground = playground("--framing lines");
    let mut console = playground.console();
    for change in [
        "acceptors 2",
        "restarts 7/60",
        "max-connections 100",
        "at-limit close",
        "max-per-ip 50",
        "accept-rate 1000/1",
        "allow 127.0.0.1",
        "deny 10.0.0.0/8",
        "max-frame 1000",
        "idle-timeout 0",
        "packet-timeout 5000",
        "send-timeout 5000",
        "max-age 600000",
        "on-packet-timeout echo",
        "high-watermark 100000",
        "half-close on",
        "handshake-timeout 1000",
        "greeting hi",
        "goodbye bye",
        "linger off",
        "grace 1000",
    ] {
        assert_eq!(console.ask(&format!("set {change}")), "ok", "{change}");
    }
    let before = playground.json("info");
    for change in [
        "handler ping",
        "framing raw",
        "console 127.0.0.1:0",
        "tls-cert a.pem",
        "tls-key a.pem",
        "tls-backend rustls",
        "client-ca a.pem",
        "alpn h2",
        "sni a=b,c",
        "proxy-protocol require",
        "trusted-proxy 127.0.0.1",
    ] {
        let answer = console.ask(&format!("set {change}"));
        assert!(answer.starts_with("error: ") && answer.contains("cannot be changed live"), "{change}: {answer}");
    }
    for change in [
        "acceptors none",
        "acceptors 0",
        "restarts 5",
        "restarts 5/0",
        "max-connections 0",
        "at-limit dance",
        "max-per-ip 0",
        "accept-rate 0/1",
        "allow localhost",
        "deny 10.0.0.0/33",
        "max-frame 0",
        "idle-timeout soon",
        "packet-timeout -1",
        "send-timeout",
        "max-age x",
        "on-packet-timeout dance",
        "high-watermark -1",
        "half-close perhaps",
        "linger perhaps",
        "grace never",
        "listen nowhere",
        "listen tls://127.0.0.1:0",
        "colour red",
        "",
    ] {
        let answer = console.ask(&format!("set {change}"));
        assert!(answer.starts_with("error: ") && answer.len() > 7, "{change}: {answer}");
    }
    assert_eq!(playground.json("info"), before);
}

#[test]
fn the_connection_limit_changes_live() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --max-connections 1"));
        let mut inside = playground.greeted();
        let mut waiting = playground.connect();
        waiting.send("hello");
        assert!(waiting.is_silent_for(LIMIT), "{handler}");
        assert_eq!(playground.command("max 2"), "ok");
        waiting.expect(&["hello"]);
        assert_eq!(playground.command("max 1"), "ok");
        assert_eq!(playground.json("info")["max_connections"], json!(1));
        assert_eq!((inside.ask("here"), waiting.ask("here")), ("here".into(), "here".into()), "{handler}");
        // Exempted connections leave permits; a second call has no effect.
        for (command, answer) in [("exempt 1", "ok"), ("exempt 1", "ok"), ("exempt 9", "gone")] {
            assert_eq!(playground.command(command), answer);
        }
        let mut third = playground.connect();
        third.send("hello");
        assert!(third.is_silent_for(LIMIT), "{handler}");
        assert_eq!(playground.command("exempt 2"), "ok");
        third.expect(&["hello"]);
        assert_eq!(playground.json("info")["connections"], json!(3));
        assert_eq!(playground.command("set at-limit close"), "ok");
        assert_eq!(playground.connect().until_gone(), "");
        assert_eq!(playground.json("info")["refused"]["limit"], json!(1));
    }
}

#[test]
fn limits_and_rules_change_live() {
    for (option, value, reason, off) in [
        ("max-per-ip", "1", "per_peer", "max-per-ip 100"),
        ("accept-rate", "1/36000", "rate", "accept-rate 100000/1"),
        ("deny", "127.0.0.1", "denied", "allow 127.0.0.0/8"),
    ] {
        let playground = playground("--framing lines");
        let mut old = playground.greeted();
        assert_eq!(playground.command(&format!("set {option} {value}")), "ok");
        if option == "accept-rate" {
            playground.greeted();
        }
        playground.connect().until_gone();
        eventually(|| playground.json("info")["refused"][reason] == json!(1));
        assert_eq!(old.ask("still here"), "still here", "{option}");
        assert_eq!(playground.command(&format!("set {off}")), "ok");
        playground.greeted();
    }
}

#[test]
fn timeouts_change_for_new_connections() {
    for handler in HANDLERS {
        for (option, reason) in [("idle-timeout", "idle"), ("max-age", "max_age")] {
            let playground = playground(&format!("--handler {handler} --framing lines"));
            let mut old = playground.greeted();
            assert_eq!(playground.command(&format!("set {option} 300")), "ok");
            let began = Instant::now();
            let mut new = playground.greeted();
            assert_eq!(new.until_gone(), "");
            assert!(began.elapsed() >= LIMIT);
            playground.has_closed(reason, 1);
            assert_eq!(old.ask("still here"), "still here", "{handler} {option}");
        }
    }
}

#[test]
fn the_packet_timeout_action_changes_live() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing len2"));
        for (behaviour, outcome) in [("stop", ""), ("echo", "\0\x05ab")] {
            assert_eq!(playground.command("set packet-timeout 300"), "ok");
            assert_eq!(playground.command(&format!("set on-packet-timeout {behaviour}")), "ok");
            let mut client = playground.greeted();
            client.send_wire(b"\0\x05ab");
            match outcome {
                "" => assert_eq!(client.until_gone(), "", "{handler}"),
                partial => client.expect(&[partial]),
            }
        }
    }
}

#[test]
fn max_frame_changes_for_new_connections() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut old = playground.greeted();
        assert_eq!(playground.command("set max-frame 5"), "ok");
        let mut new = playground.greeted();
        assert_eq!(new.ask("12345"), "12345");
        new.send("123456");
        assert_eq!(new.until_gone(), "", "{handler}");
        playground.has_closed("too_long", 1);
        assert_eq!(old.ask("123456"), "123456", "{handler}");
    }
}

#[test]
fn half_close_changes_for_new_connections() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut old = playground.greeted();
        assert_eq!(playground.command("set half-close on"), "ok");
        let mut new = playground.greeted();
        for client in [&mut old, &mut new] {
            client.finish();
        }
        assert_eq!(old.until_gone(), "", "{handler}");
        eventually(|| playground.command("send 2 still") == "ok");
        new.expect(&["still"]);
    }
}

#[test]
fn acceptors_and_restart_limit_change_live() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --acceptors 1 --restarts 0/60"));
        let mut client = playground.greeted();
        for acceptors in [4, 1, 3] {
            assert_eq!(playground.command(&format!("set acceptors {acceptors}")), "ok");
            let info = playground.json("info");
            assert_eq!(info["acceptors"].as_array().unwrap().len(), acceptors);
            playground.greeted();
        }
        assert_eq!(playground.command("set restarts 1/60"), "ok");
        assert_eq!(playground.command("crash acceptor 0"), "ok");
        eventually(|| playground.json("info")["acceptors"][0]["restarts"] == json!(1));
        assert_eq!(client.ask("still here"), "still here", "{handler}");
    }
}

#[test]
fn listeners_change_live() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut old = playground.greeted();
        assert_eq!(playground.command("set listen tcp://127.0.0.1:0"), "ok");
        let url = playground.json("info")["listeners"][0].as_str().unwrap().to_owned();
        assert_ne!(url, playground.url());
        let new = url.strip_prefix("tcp://").unwrap().parse().unwrap();
        assert_eq!(Client::connect(new, Wire::Lines).ask("hello"), "hello", "{handler}");
        eventually(|| playground.refuses());
        assert_eq!(old.ask("still here"), "still here");
        let thief = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = thief.local_addr().unwrap();
        let answer = playground.command(&format!("set listen tcp://{taken}"));
        assert!(answer.starts_with("error: ") && answer.contains(&taken.to_string()), "{answer}");
        assert!(TcpStream::connect(new).is_ok());
        assert_eq!(playground.json("info")["listeners"], json!([url]));
    }
}
