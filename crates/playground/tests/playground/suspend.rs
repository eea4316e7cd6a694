//! The console's `suspend` and `resume`.

use std::time::Duration;

use serde_json::json;

use crate::process::{eventually, playground, Playground};
use crate::HANDLERS;

fn status(playground: &Playground) -> String {
    playground.json("info")["status"].as_str().unwrap().to_owned()
}

#[test]
fn refuse_closes_the_port_and_keeps_connections() {
    for handler in HANDLERS {
        for command in ["suspend", "suspend refuse"] {
            let playground = playground(&format!("--handler {handler} --framing lines"));
            let mut client = playground.greeted();
            assert_eq!(status(&playground), "running");
            assert_eq!(playground.command(command), "ok");
            assert_eq!(status(&playground), "suspended");
            assert!(playground.refuses());
            assert_eq!(client.ask("still here"), "still here", "{handler}");
            assert_eq!(playground.command("resume"), "ok");
            assert_eq!(status(&playground), "running");
            // On the same port, which the system has chosen.
            playground.greeted();
        }
    }
}

#[test]
fn hold_keeps_peers_waiting_in_the_kernel() {
    let playground = playground("--framing lines");
    let mut client = playground.greeted();
    assert_eq!(playground.command("suspend hold"), "ok");
    assert_eq!(status(&playground), "suspended");
    let mut waiting = playground.connect();
    waiting.send("hello");
    assert!(waiting.is_silent_for(Duration::from_millis(200)));
    assert_eq!(client.ask("still here"), "still here");
    assert_eq!(playground.json("info")["accepted"], json!(1));
    assert_eq!(playground.command("resume"), "ok");
    waiting.expect(&["hello"]);
}

#[test]
fn a_second_suspend_has_no_effect() {
    let playground = playground("--framing lines");
    assert_eq!(playground.command("resume"), "ok");
    for (commands, refuses) in [(["suspend hold", "suspend hold"], false), (["suspend", "suspend refuse"], true)] {
        for command in commands {
            assert_eq!(playground.command(command), "ok");
            assert_eq!(playground.refuses(), refuses);
        }
        for _ in 0..2 {
            assert_eq!(playground.command("resume"), "ok");
        }
        playground.greeted();
    }
}

#[test]
fn a_suspend_of_the_other_kind_changes_the_kind() {
    let playground = playground("--framing lines");
    for (command, refuses) in [("suspend hold", false), ("suspend refuse", true), ("suspend hold", false)] {
        assert_eq!(playground.command(command), "ok");
        assert_eq!((status(&playground), playground.refuses()), ("suspended".into(), refuses));
    }
    assert_eq!(playground.command("resume"), "ok");
    playground.greeted();
}

#[test]
fn resume_reports_a_taken_port_and_works_later() {
    let playground = playground("--framing lines");
    assert_eq!(playground.command("suspend"), "ok");
    let thief = std::net::TcpListener::bind(playground.address()).unwrap();
    let answer = playground.command("resume");
    assert!(answer.starts_with("error: ") && answer.contains(&playground.address().to_string()), "{answer}");
    assert_eq!(status(&playground), "suspended");
    drop(thief);
    assert_eq!(playground.command("resume"), "ok");
    playground.greeted();
}

#[test]
fn a_draining_pool_cannot_be_suspended() {
    let playground = playground("--framing lines --linger");
    let _client = playground.greeted();
    let mut console = playground.console();
    // Opened first, because `drain` answers at its end.
    let mut second = playground.console();
    second.send("drain 600000");
    eventually(|| status(&playground) == "draining");
    for command in ["suspend", "suspend hold", "resume"] {
        let answer = console.ask(command);
        assert!(answer.starts_with("error: "), "{command}: {answer}");
    }
}
