//! What a drain reports, with peers in the kernel's queue, and with several listeners.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::client::{Client, Wire};
use crate::process::{eventually, playground, Playground};
use crate::HANDLERS;

fn counts(report: &Value) -> Value {
    json!([report["asked"], report["finished"], report["forced"], report["unserved"]])
}

/// All reasons with their counts.
fn assert_closed(report: &Value, expected: &[(&str, u64)]) {
    let closed = report["closed"].as_object().unwrap();
    assert!(closed.len() >= 11, "{report}");
    for (reason, count) in closed {
        let expected = expected.iter().find(|(named, _)| named == reason).map_or(0, |(_, count)| *count);
        assert_eq!(*count, json!(expected), "{reason}: {report}");
    }
}

#[test]
fn the_report_counts_asked_connections_and_their_endings() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --goodbye bye --linger"));
        let (mut leaves, mut stays) = (playground.greeted(), playground.greeted());
        // Closed before the drain: not in the report.
        let mut before = playground.greeted();
        assert_eq!(before.ask("!bye see you"), "see you");
        playground.has_closed("local", 1);
        let mut console = playground.console();
        let began = Instant::now();
        console.send("drain 1000");
        for client in [&mut leaves, &mut stays] {
            client.expect(&["bye"]);
        }
        drop(leaves);
        assert_eq!(stays.until_gone(), "");
        assert!(began.elapsed() >= Duration::from_secs(1));
        let report: Value = serde_json::from_str(&console.receive()).unwrap();
        assert_eq!(counts(&report), json!([2, 1, 1, 0]), "{handler}");
        let by_itself = if report["closed"]["peer"] == json!(1) { "peer" } else { "shutdown" };
        assert_closed(&report, &[(by_itself, 1), ("killed", 1)]);
        assert!(report["took_ms"].as_u64() >= Some(1000), "{report}");
        let ended = playground.ended();
        assert_eq!((ended.code, ended.stdout), (Some(0), format!("drained {report}")));
    }
}

#[test]
fn a_peer_queued_at_the_limit_is_unserved() {
    let playground = playground("--framing lines --goodbye bye --max-connections 1");
    let mut inside = playground.greeted();
    let mut outside = [playground.connect(), playground.connect()];
    let report = playground.json("drain 10000");
    assert_eq!(counts(&report), json!([1, 1, 0, 2]));
    assert_closed(&report, &[("shutdown", 1)]);
    assert_eq!(inside.until_gone(), "bye\n");
    outside.iter_mut().for_each(|client| assert_eq!(client.until_gone(), ""));
}

#[test]
fn a_peer_queued_during_hold_is_served_and_asked() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --goodbye bye"));
        assert_eq!(playground.command("suspend hold"), "ok");
        let mut waiting = [playground.connect(), playground.connect(), playground.connect()];
        assert_eq!(counts(&playground.json("drain 10000")), json!([3, 3, 0, 0]), "{handler}");
        waiting.iter_mut().for_each(|client| assert_eq!(client.until_gone(), "bye\n", "{handler}"));
    }
}

#[test]
fn a_drain_without_grace_ends_connections_unasked() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --goodbye bye"));
        let mut client = playground.greeted();
        let report = playground.json("drain 0");
        assert_eq!(counts(&report), json!([1, 0, 1, 0]), "{handler}");
        assert_closed(&report, &[("killed", 1)]);
        assert_eq!(client.until_gone(), "", "{handler}");
    }
}

#[test]
fn a_second_drain_can_shorten_the_grace() {
    let playground = playground("--framing lines --linger");
    let mut client = playground.greeted();
    let (mut first, mut second) = (playground.console(), playground.console());
    first.send("drain 600000");
    let mut third = playground.console();
    eventually(|| serde_json::from_str::<Value>(&third.ask("info")).unwrap()["status"] == "draining");
    second.send("drain 100");
    assert_eq!(client.until_gone(), "");
    let reports = [first.receive(), second.receive()];
    assert_eq!(reports[0], reports[1]);
    assert_eq!(counts(&serde_json::from_str(&reports[0]).unwrap()), json!([1, 0, 1, 0]));
}

#[test]
fn several_listeners_are_printed_served_listed_and_drained() {
    for handler in HANDLERS {
        let options = format!("--handler {handler} --framing lines --goodbye bye --listen tcp://127.0.0.1:0");
        let playground = Playground::with_listeners(2, &options);
        let mut clients: Vec<_> = playground
            .addresses()
            .iter()
            .map(|address| {
                let mut client = Client::connect(*address, Wire::Lines);
                assert_eq!(client.ask("hello"), "hello");
                client
            })
            .collect();
        let urls: Vec<_> = playground.addresses().iter().map(|address| format!("tcp://{address}")).collect();
        assert_eq!(playground.json("info")["listeners"], json!(urls));
        let list = playground.json("list");
        assert_eq!([&list[0]["listener"], &list[1]["listener"]], [&json!(urls[0]), &json!(urls[1])], "{handler}");
        assert_eq!(playground.command("suspend"), "ok");
        for address in playground.addresses() {
            assert!(std::net::TcpStream::connect(address).is_err());
        }
        assert_eq!(playground.command("resume"), "ok");
        for address in playground.addresses() {
            clients.push(Client::connect(*address, Wire::Lines));
            assert_eq!(clients.last_mut().unwrap().ask("hello"), "hello");
        }
        assert_eq!(counts(&playground.json("drain 10000")), json!([4, 4, 0, 0]));
        clients.iter_mut().for_each(|client| assert_eq!(client.until_gone(), "bye\n", "{handler}"));
    }
}
