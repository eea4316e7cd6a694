//! The operator's console, with all handlers.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::process::{eventually, playground, Playground};
use crate::HANDLERS;

#[test]
fn info_lists_every_counter_and_adds_up() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --acceptors 2"));
        let (_here, mut gone) = (playground.greeted(), playground.greeted());
        gone.finish();
        gone.until_gone();
        playground.has_closed("peer", 1);
        let zero =
            |reasons: &[&str]| -> Value { reasons.iter().map(|reason| (reason.to_string(), json!(0))).collect() };
        let mut closed = zero(&[
            "local",
            "idle",
            "packet_timeout",
            "replaced",
            "send_timeout",
            "slow_consumer",
            "too_long",
            "max_age",
            "handshake",
            "truncated",
            "error",
            "panic",
            "shutdown",
            "killed",
        ]);
        closed["peer"] = json!(1);
        let mut info = playground.json("info");
        let acceptors = info["acceptors"].take();
        // Lower if the descriptor limit is low.
        assert!((1..=16_384).contains(&info["max_connections"].take().as_u64().unwrap()));
        assert_eq!(
            info,
            json!({
                "status": "running",
                "listeners": [playground.url()],
                "connections": 1,
                "max_connections": null,
                "accepted": 2,
                "acceptors": null,
                "accept_errors": 0,
                "refused": zero(&["limit", "per_peer", "rate", "denied", "overload", "descriptors", "draining"]),
                "closed": closed,
            })
        );
        let [first, second] = &acceptors.as_array().unwrap()[..] else { panic!("{acceptors}") };
        assert_eq!((&first["id"], &second["id"]), (&json!(0), &json!(1)));
        assert_eq!(first["connections"].as_u64().unwrap() + second["connections"].as_u64().unwrap(), 1);
        assert_eq!((&first["restarts"], &second["restarts"]), (&json!(0), &json!(0)));
    }
}

#[test]
fn list_shows_connections_and_bytes_on_the_wire() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing len2"));
        let (first, second) = (playground.greeted(), playground.greeted());
        eventually(|| list(&playground).iter().all(|connection| connection["bytes_out"] == json!(7)));
        for (connection, (id, peer)) in list(&playground).iter().zip([(1, &first), (2, &second)]) {
            assert_eq!(connection["id"], json!(id));
            assert_eq!(connection["peer"], json!(peer.address().to_string()));
            assert_eq!(connection["listener"], json!(playground.url()));
            assert_eq!(connection["bytes_in"], json!(7));
            assert!(connection["age_ms"].is_u64() && connection["idle_ms"].is_u64(), "{connection}");
        }
        assert_eq!(list(&playground).len(), 2);
    }
}

fn list(playground: &Playground) -> Vec<Value> {
    playground.json("list").as_array().unwrap().clone()
}

#[test]
fn send_and_ask_address_a_connection_by_its_id() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let (mut one, mut two) = (playground.greeted(), playground.greeted());
        let mut console = playground.console();
        for (command, answer) in [
            ("send 1 to  you", "ok"),
            ("send 9 to you", "gone"),
            ("broadcast to all", "ok 2"),
            ("ask 1", "1"),
            ("ask 9", "gone"),
            ("flood 1 1000", "ok"),
            ("flood 9 1000", "gone"),
            ("kill 9", "gone"),
        ] {
            assert_eq!(console.ask(command), answer, "{handler}: {command}");
        }
        one.expect(&["to  you", "to all"]);
        two.expect(&["to all"]);
        assert_eq!(console.ask("kill 2"), "ok", "{handler}");
        assert_eq!(two.until_gone(), "", "{handler}");
        // The messages have no answer.
        assert_eq!(one.ask("!count"), "2", "{handler}");
        playground.has_closed("killed", 1);
        assert_eq!(console.ask("ask 2"), "gone", "{handler}");
    }
}

#[test]
fn kill_ends_a_busy_connection() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        for (id, verb) in [(1, "!wait 60000"), (2, "!passive 60000"), (3, "!flood 100000"), (4, "!block 60000")] {
            let mut client = playground.greeted();
            client.send(verb);
            let began = Instant::now();
            assert_eq!(playground.command(&format!("kill {id}")), "ok");
            client.until_gone();
            assert!(began.elapsed() < Duration::from_secs(10), "{handler} {verb}");
        }
        playground.has_closed("killed", 4);
    }
}

#[test]
fn unknown_and_invalid_commands_are_reported() {
    let playground = playground("--framing len1");
    let long = format!("send 1 {}", "x".repeat(256));
    let mut console = playground.console();
    assert_eq!(console.ask("dance"), "error: unknown command");
    assert_eq!(console.ask(""), "error: unknown command");
    for command in [
        "kill",
        "kill me",
        "send 1",
        "ask",
        "flood 1",
        "flood 1 many",
        "crash",
        "crash acceptor",
        "crash acceptor 99",
        "drain",
        "drain soon",
        "suspend softly",
        "max",
        "max 0",
        "max -1",
        "exempt",
        "exempt everybody",
        "reload-tls",
        "set",
        "set colour red",
        "set acceptors 0",
        "set max-connections 0",
        "set idle-timeout soon",
        "set deny 10.0.0.0/33",
        "set handler ping",
        "set console 127.0.0.1:0",
        "set linger perhaps",
        &long,
    ] {
        let answer = console.ask(command);
        assert!(answer.starts_with("error: ") && answer.len() > 7, "{command}: {answer}");
    }
    assert_eq!(playground.json("info")["status"], "running");
}

#[test]
fn piped_commands_are_all_answered() {
    let playground = playground("");
    let mut console = playground.console();
    console.send_all(&["ask 1", "list", "kill 1"]);
    console.finish();
    assert_eq!(console.until_gone(), "gone\n[]\ngone\n");
}

#[test]
fn the_console_is_not_counted() {
    let playground = playground("");
    let _consoles = [playground.console(), playground.console()];
    let info = playground.json("info");
    assert_eq!((&info["accepted"], &info["connections"]), (&json!(0), &json!(0)));
}

#[test]
fn greeting_goodbye_and_linger_change_live() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut console = playground.console();
        let mut early = playground.greeted();
        for change in
            ["set greeting good day", "set goodbye good night", "set linger on", "set linger off", "set grace 10000"]
        {
            assert_eq!(console.ask(change), "ok", "{change}");
        }
        let mut late = playground.connect();
        late.expect(&["good day"]);
        console.send("drain 10000");
        assert_eq!(early.until_gone(), "good night\n", "{handler}");
        assert_eq!(late.until_gone(), "good night\n", "{handler}");
    }
}

#[test]
fn a_panicking_acceptor_is_replaced_without_lost_connections() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --acceptors 2"));
        let mut client = playground.greeted();
        let mut console = playground.console();
        for place in [0, 1, 0, 1] {
            assert_eq!(console.ask(&format!("crash acceptor {place}")), "ok", "{handler}");
            // No peer is refused in the meantime.
            playground.greeted();
            assert_eq!(client.ask("still here"), "still here");
        }
        let restarts = |place: usize| playground.json("info")["acceptors"][place]["restarts"].clone();
        eventually(|| restarts(0) == json!(2) && restarts(1) == json!(2));
    }
}

#[test]
fn exceeding_the_restart_limit_ends_the_process_with_code_1() {
    let playground = playground("--framing lines --acceptors 2 --restarts 2/60 --grace 10000");
    let mut client = playground.greeted();
    let mut console = playground.console();
    for place in [0, 1, 0] {
        assert_eq!(console.ask(&format!("crash acceptor {place}")), "ok");
    }
    assert_eq!(client.until_gone(), "");
    let ended = playground.ended();
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    assert!(ended.stderr.contains("more than 2 acceptor restarts"), "{}", ended.stderr);
}

#[test]
fn close_ends_a_connection_in_order_whatever_it_is_doing() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let verbs = ["hello", "!wait 60000", "!passive 60000", "!spawn 60000", "!block 60000", "!after 60000 later"];
        for (id, verb) in (1..).zip(verbs) {
            let mut client = playground.connect();
            assert_eq!(client.ask("first"), "first");
            client.send(verb);
            match verb {
                "hello" => client.expect(&["hello"]),
                "!passive 60000" => client.expect(&["passive"]),
                "!spawn 60000" => client.expect(&["spawned"]),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
            assert_eq!(playground.command(&format!("close {id} 2000 you were removed")), "ok", "{handler} {verb}");
            assert_eq!(client.until_gone(), "you were removed\n", "{handler} {verb}");
            playground.has_closed("local", id);
        }
        assert_eq!(playground.command("close 1 0"), "gone", "{handler}");
        let mut client = playground.greeted();
        assert_eq!(playground.command("close 7 1000"), "ok", "{handler}");
        assert_eq!(client.until_gone(), "", "{handler}");
        assert!(playground.command("close 5").starts_with("error: usage"), "{handler}");
    }
}
