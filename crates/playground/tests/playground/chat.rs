//! The handler `chat`.

use std::thread;

use serde_json::json;

use crate::client::Client;
use crate::process::{eventually, playground, Playground};

/// A client that has joined.
fn join(playground: &Playground) -> Client {
    let mut guest = playground.connect();
    guest.ask("/who");
    guest
}

#[test]
fn each_line_is_sent_to_all_other_guests() {
    let playground = playground("--handler chat");
    let (mut one, mut two) = (join(&playground), join(&playground));
    one.expect(&["* guest-2 joined"]);
    let mut three = join(&playground);
    one.expect(&["* guest-3 joined"]);
    two.expect(&["* guest-3 joined"]);

    one.send("hello all");
    two.expect(&["guest-1: hello all"]);
    three.expect(&["guest-1: hello all"]);
    two.send_all(&["/nick bob", "it is me"]);
    one.expect(&["bob: it is me"]);
    three.expect(&["bob: it is me"]);
    assert_eq!(three.ask("/who"), "bob guest-1 guest-3");

    two.send("/quit");
    assert_eq!(two.until_gone(), "");
    playground.has_closed("local", 1);
    one.expect(&["* bob left"]);
    three.expect(&["* bob left"]);
    three.finish();
    assert_eq!(three.until_gone(), "");
    one.expect(&["* guest-3 left"]);
    assert_eq!(one.ask("/who"), "guest-1");
}

#[test]
fn every_end_of_a_guest_is_announced_once() {
    let playground = playground("--handler chat --max-frame 20000 --idle-timeout 2000 --outbox 50000 --acceptors 2");
    let mut one = join(&playground);
    for (number, end) in (2..).zip(["quit", "fin", "reset", "kill", "close", "too long", "idle", "slow"]) {
        let mut guest = join(&playground);
        one.expect(&[&*format!("* guest-{number} joined")]);
        match end {
            "quit" => guest.send("/quit"),
            "fin" => guest.finish(),
            "reset" => guest.reset(),
            "kill" => assert_eq!(playground.command(&format!("kill {number}")), "ok"),
            "close" => assert_eq!(playground.command(&format!("close {number} 1000 bye")), "ok"),
            "too long" => guest.send(&"x".repeat(20_001)),
            "idle" => {}
            _ => {
                let line = "x".repeat(20_000);
                while playground.closed("slow_consumer") == 0 {
                    one.send_all(&[&*line; 10]);
                }
            }
        }
        let left = format!("* guest-{number} left");
        while playground.json("list").as_array().unwrap().len() > 1 {
            // It is not idle.
            one.send("still here");
        }
        one.expect(&[&*left]);
        assert_eq!(one.ask("/who"), "guest-1", "{end}");
    }
}

#[test]
fn a_nick_is_of_one_guest() {
    let playground = playground("--handler chat --acceptors 2");
    let (mut one, mut two) = (join(&playground), join(&playground));
    one.expect(&["* guest-2 joined"]);
    one.send("/nick ann");
    assert_eq!(one.ask("/who"), "ann guest-2");
    for name in ["ann", "guest-1", "guest-3"] {
        assert_eq!(two.ask(&format!("/nick {name}")), "that name is taken", "{name}");
    }
    assert_eq!(two.ask(&format!("/nick {}", "x".repeat(4097))), "that name is too long");
    for usage in ["/nick", "/nick ", "/nick two words"] {
        assert_eq!(two.ask(usage), "usage: /nick NAME", "{usage}");
    }
    // Its own name, its first name again, and one that begins alike.
    for (name, who) in [
        ("guest-2", "ann guest-2"),
        ("Ann", "Ann ann"),
        ("Ann", "Ann ann"),
        ("guest-2", "ann guest-2"),
        ("guest-house", "ann guest-house"),
    ] {
        two.send(&format!("/nick {name}"));
        assert_eq!(two.ask("/who"), who);
    }
    assert_eq!(playground.json("names"), json!({ "ann": 1, "guest-house": 2 }));
    let labels: Vec<_> =
        playground.json("list").as_array().unwrap().iter().map(|guest| guest["label"].clone()).collect();
    assert_eq!(labels, [json!("ann"), json!("guest-house")]);
    // A name is free again after its guest has left, and after a change.
    one.send("/quit");
    one.until_gone();
    two.expect(&["* ann left"]);
    eventually(|| playground.json("names") == json!({ "guest-house": 2 }));
    two.send("/nick ann");
    assert_eq!(two.ask("/who"), "ann");
    let mut three = join(&playground);
    two.expect(&["* guest-3 joined"]);
    three.send_all(&["/nick guest-house", "hello"]);
    two.expect(&["guest-house: hello"]);
    assert_eq!(three.ask("/who"), "ann guest-house");
}

/// Of two guests that join at the same time, at least one is announced to the other, and both are in the list.
#[test]
fn guests_that_join_at_the_same_time_know_of_each_other() {
    const GUESTS: usize = 20;
    let playground = playground("--handler chat --acceptors 2");
    let joining: Vec<_> = (0..GUESTS)
        .map(|_| {
            let (address, wire) = (playground.address(), playground.wire());
            thread::spawn(move || {
                let mut guest = Client::connect(address, wire);
                guest.send("/who");
                let mut joined = Vec::new();
                loop {
                    let line = guest.receive();
                    match line.strip_prefix("* ").and_then(|line| line.strip_suffix(" joined")) {
                        Some(name) => joined.push(name.to_owned()),
                        None => return (guest, joined, line),
                    }
                }
            })
        })
        .collect();
    let guests: Vec<_> = joining.into_iter().map(|guest| guest.join().unwrap()).collect();
    let who = join(&playground).ask("/who");
    assert_eq!(who.split(' ').count(), GUESTS + 1);
    // Those that were in the list, and those that were announced: one of the two for each other guest.
    let known = guests.into_iter().map(|(mut guest, mut joined, listed)| {
        joined.extend(listed.split(' ').map(str::to_owned));
        while !joined.iter().any(|name| *name == format!("guest-{}", GUESTS + 1)) {
            let line = guest.receive();
            joined.extend(line.strip_prefix("* ").and_then(|line| line.strip_suffix(" joined")).map(str::to_owned));
        }
        joined.sort();
        joined.dedup();
        joined.len()
    });
    assert!(known.into_iter().all(|known| known == GUESTS + 1));
}

#[test]
fn a_line_is_passed_on_as_it_is() {
    let playground = playground("--handler chat");
    let (mut one, mut two) = (join(&playground), join(&playground));
    one.expect(&["* guest-2 joined"]);
    two.send_wire(b"\xff\xfe \n\n/quit now\n/unknown\r\n!pub chat x\n");
    let expected = b"guest-2: \xff\xfe \nguest-2: \nguest-2: /quit now\nguest-2: /unknown\nguest-2: !pub chat x\n";
    assert_eq!(one.read(expected.len()), expected);
}

#[test]
fn the_end_of_the_pool_is_not_announced() {
    let playground = playground("--handler chat --goodbye bye --acceptors 2");
    let mut guests: Vec<_> = (0..10).map(|_| join(&playground)).collect();
    playground.json("drain 10000");
    for guest in &mut guests {
        let lines = guest.until_gone();
        assert!(lines.ends_with("bye\n") && !lines.contains("left"), "{lines}");
    }
}

#[test]
fn the_room_is_shown_at_the_console() {
    let playground = playground("--handler chat --framing raw");
    let mut one = playground.connect();
    assert_eq!(one.ask("/who\n"), "guest-1\n");
    let mut two = playground.connect();
    assert_eq!(two.ask("/who\r\n"), "guest-1 guest-2\r\n");
    one.expect(&["* guest-2 joined"]);
    assert_eq!(playground.json("topics"), json!({ "chat": 2 }));
    assert_eq!(playground.json("names"), json!({ "guest-1": 1, "guest-2": 2 }));
    assert_eq!(playground.command("publish chat to all"), "ok 2");
    one.expect(&["to all"]);
    two.expect(&["to all"]);
    two.send("hello\n");
    one.expect(&["guest-2: hello\n"]);
}

#[test]
fn many_lines_at_once_all_arrive_in_order() {
    let playground = playground("--handler chat");
    let (mut one, mut two) = (join(&playground), join(&playground));
    one.expect(&["* guest-2 joined"]);
    let lines: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
    two.send_all(&lines.iter().map(|line| &**line).collect::<Vec<_>>());
    two.finish();
    for line in &lines {
        assert_eq!(one.receive(), format!("guest-2: {line}"));
    }
    one.expect(&["* guest-2 left"]);
}

#[test]
fn the_console_reaches_chat_connections() {
    let playground = playground("--handler chat --greeting welcome --goodbye bye");
    let mut one = playground.connect();
    one.expect(&["welcome"]);
    assert_eq!(one.ask("/who"), "guest-1");
    for (command, answer) in [("send 1 psst", "ok"), ("broadcast news", "ok 1"), ("ask 1", "1"), ("flood 1 10", "ok")] {
        assert_eq!(playground.command(command), answer, "{command}");
    }
    one.expect(&["psst", "news"]);
    playground.json("drain 10000");
    assert_eq!(one.until_gone(), "bye\n");
}
