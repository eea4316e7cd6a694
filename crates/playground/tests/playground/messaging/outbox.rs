//! The outbox: what others send to a connection, while it waits, and while its peer does not read.

use std::time::{Duration, Instant};

use serde_json::json;

use super::with_handlers;
use crate::client::Client;
use crate::process::{playground, run, Playground};

/// A text of this number that is longer than 10,000 bytes.
fn long(number: usize) -> String {
    format!("{number} {}", "x".repeat(10_000))
}

/// Publishes numbered texts to `room` until its only member has not accepted 20 of them. Returns those that it has accepted.
fn publish_until_full(publisher: &mut Client) -> Vec<usize> {
    let mut accepted = Vec::new();
    for number in 0.. {
        match &*publisher.verb(&format!("!pub room {}", long(number))) {
            "ok 1" => accepted.push(number),
            "ok 0" if number - accepted.len() == 20 => break,
            answer => assert_eq!(answer, "ok 0"),
        }
    }
    accepted
}

#[test]
fn packets_of_others_are_sent_during_waits() {
    with_handlers("--framing lines --acceptors 2", |playground, options| {
        for verb in ["!wait 60000", "!block 60000", "!passive 60000"] {
            let (mut member, mut other) = (playground.member("room"), playground.connect());
            let (id, name) = (member.verb("!id"), &verb[1..5]);
            assert_eq!(member.verb(&format!("!name {name}")), "ok", "{options}");
            member.send_all(&[verb, "behind"]);
            if verb == "!passive 60000" {
                member.expect(&["passive"]);
            } else {
                playground.shows(id.parse().unwrap(), "state", "waiting");
            }
            assert_eq!(other.verb("!pub room published"), "ok 1", "{options}");
            assert_eq!(other.verb(&format!("!tell {name} private")), "ok", "{options}");
            assert_eq!(playground.command("publish room by the operator"), "ok 1", "{options}");
            assert_eq!(playground.command(&format!("send {id} to you")), "ok", "{options}");
            member.expect(&["published", "private", "by the operator", "to you"]);
            assert_eq!(playground.command(&format!("kill {id}")), "ok", "{options}");
            member.until_gone();
        }
    });
}

#[test]
fn a_slow_consumer_is_closed_and_others_are_not() {
    with_handlers("--framing lines --outbox 100000 --acceptors 2", |playground, options| {
        let (mut slow, mut quick) = (playground.member("room"), playground.member("room"));
        let mut publisher = playground.connect();
        let mut published = 0;
        loop {
            let answer = publisher.verb(&format!("!pub room {}", long(published)));
            assert_eq!(quick.receive(), long(published), "{options}");
            published += 1;
            if answer != "ok 2" {
                assert_eq!(answer, "ok 1", "{options}");
                break;
            }
        }
        playground.has_closed("slow_consumer", 1);
        assert_eq!(playground.json("topics"), json!({ "room": 1 }), "{options}");
        let received = slow.until_gone();
        assert!(received.len() < published * long(0).len(), "{options}: unsent bytes are lost");
        assert_eq!(quick.verb("!count"), "2", "{options}");
    });
}

#[test]
fn an_outbox_holds_a_mebibyte_by_default_and_is_closed_above() {
    with_handlers("--framing lines", |playground, options| {
        let (_slow, mut publisher) = (playground.member("room"), playground.connect());
        let accepted = publish_until_full(&mut publisher).len();
        assert!(accepted * long(0).len() > 1 << 20, "{options}: {accepted}");
        playground.has_closed("slow_consumer", 1);
    });
}

#[test]
fn with_drop_the_newest_packets_are_left_out_whole() {
    with_handlers("--framing lines --outbox 100000 --slow-consumer drop --acceptors 1", |playground, options| {
        let (mut slow, mut publisher) = (playground.member("room"), playground.connect());
        assert_eq!(slow.verb("!name ann"), "ok", "{options}");
        let accepted = publish_until_full(&mut publisher);
        assert_eq!(publisher.verb(&format!("!tell ann {}", "x".repeat(100_000))), "ok", "{options}");
        // With what the connection has taken from its outbox to write it. On one thread, that is one line at a time: those of a
        // burst from another thread may have been merged.
        let unsent = playground.unsent(1);
        assert!(unsent <= 120_000, "{options}: {unsent}");
        for number in accepted {
            assert_eq!(slow.receive(), long(number), "{options}");
        }
        // There is room again.
        assert_eq!(publisher.verb("!pub room after"), "ok 1", "{options}");
        slow.expect(&["after"]);
        assert_eq!(slow.verb("!count"), "3", "{options}");
        let closed = playground.json("info")["closed"].clone();
        assert!(closed.as_object().unwrap().values().all(|count| count == 0), "{options}: {closed}");
    });
}

#[test]
fn answers_of_the_connection_do_not_count_for_its_outbox() {
    with_handlers("--framing lines --outbox 1000", |playground, options| {
        let mut client = playground.member("room");
        client.send("!flood 300");
        client.expect(&[&*"x".repeat(1024); 300]);
        assert_eq!(client.verb(&"y".repeat(5000)), "y".repeat(5000), "{options}");
        assert_eq!(playground.command(&format!("publish room {}", "z".repeat(999))), "ok 1", "{options}");
        client.expect(&[&*"z".repeat(999)]);
    });
}

#[test]
fn outbox_and_slow_consumer_change_live() {
    with_handlers("--framing lines --outbox 100000 --acceptors 1", |playground, options| {
        let (mut slow, mut publisher) = (playground.member("room"), playground.connect());
        assert_eq!(playground.command("set slow-consumer drop"), "ok", "{options}");
        let few = publish_until_full(&mut publisher);
        let unsent = playground.unsent(1);
        assert!(unsent <= 120_000, "{options}: {unsent}");
        assert_eq!(playground.command("set outbox 1000000"), "ok", "{options}");
        let more = publish_until_full(&mut publisher);
        assert!(more.len() >= 85 && playground.unsent(1) <= 1_020_000, "{options}");
        for number in few.into_iter().chain(more) {
            assert_eq!(slow.receive(), long(number), "{options}");
        }
        assert_eq!(playground.command("set slow-consumer close"), "ok", "{options}");
        publish_until_full(&mut publisher);
        playground.has_closed("slow_consumer", 1);
        for command in
            ["set outbox 0", "set outbox much", "set slow-consumer wait", "set outbox -1", "set slow-consumer"]
        {
            assert!(playground.command(command).starts_with("error: "), "{options}: {command}");
        }
    });
}

#[test]
fn invalid_outbox_options_are_refused() {
    for options in [["--outbox", "0"], ["--outbox", "a lot"], ["--slow-consumer", "wait"], ["--max-blocking", "0"]] {
        let ended = run(options);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{options:?}");
        assert!(ended.stderr.contains(options[0]), "{options:?}: {}", ended.stderr);
    }
}

/// Waits until everything that was sent to connection 1 is in its outbox or with the kernel, and some of it unsent.
fn fill(playground: &Playground, publisher: &mut Client) -> usize {
    let mut sent = 0;
    while playground.unsent(1) < 200_000 {
        assert_eq!(publisher.verb(&format!("!pub room {}", long(sent))), "ok 1");
        sent += 1;
    }
    sent
}

#[test]
fn a_close_during_a_wait_sends_what_is_queued_first() {
    with_handlers("--framing lines", |playground, options| {
        for (verb, slow) in [("!wait 60000", false), ("!wait 60000", true), ("!block 60000", true)] {
            let playground = crate::process::playground(options);
            let (mut member, mut publisher) = (playground.member("room"), playground.connect());
            member.send_all(&[verb, "behind"]);
            playground.shows(1, "state", "waiting");
            let sent = if slow {
                fill(&playground, &mut publisher)
            } else {
                assert_eq!(publisher.verb(&format!("!pub room {}", long(0))), "ok 1", "{options}");
                1
            };
            assert_eq!(playground.command("close 1 60000 the last one"), "ok", "{options}");
            let expected: String = (0..sent).map(|number| long(number) + "\n").collect();
            assert!(member.until_gone() == expected + "the last one\n", "{options} {verb}");
            playground.has_closed("local", 1);
            // It is not reached any more.
            assert_eq!(publisher.verb("!pub room late"), "ok 0", "{options}");
        }
        drop(playground);
    });
}

#[test]
fn a_close_is_local_also_when_its_time_is_over() {
    with_handlers("--framing lines", |playground, options| {
        let (mut member, mut publisher) = (playground.member("room"), playground.connect());
        fill(&playground, &mut publisher);
        let began = Instant::now();
        assert_eq!(playground.command("close 1 300 the last one"), "ok", "{options}");
        playground.has_closed("local", 1);
        assert!(began.elapsed() >= Duration::from_millis(300), "{options}");
        assert!(!member.until_gone_somehow().contains("the last one"), "{options}");
    });
}

#[test]
fn a_broadcast_reaches_connections_that_wait() {
    with_handlers("--framing lines", |playground, options| {
        let mut clients = [playground.greeted(), playground.greeted()];
        clients[0].send("!wait 60000");
        playground.shows(1, "state", "waiting");
        assert_eq!(playground.command("broadcast to all"), "ok 2", "{options}");
        clients.iter_mut().for_each(|client| client.expect(&["to all"]));
    });
}

#[test]
fn what_the_console_sends_arrives_in_its_order() {
    with_handlers("--framing lines", |playground, options| {
        let (mut member, mut console) = (playground.member("room"), playground.console());
        for round in 0..100 {
            assert_eq!(console.ask(&format!("send 1 a{round}")), "ok", "{options}");
            assert_eq!(console.ask(&format!("publish room b{round}")), "ok 1", "{options}");
            assert_eq!(console.ask(&format!("broadcast c{round}")), "ok 1", "{options}");
        }
        for round in 0..100 {
            member.expect(&[&*format!("a{round}"), &*format!("b{round}"), &*format!("c{round}")]);
        }
    });
}

/// A member that never reads takes up its outbox and a little more.
#[cfg(target_os = "linux")]
#[test]
fn members_that_do_not_read_use_bounded_memory() {
    let playground = playground("--framing lines --slow-consumer drop --acceptors 1");
    let _members: Vec<_> = (0..20).map(|_| playground.member("room")).collect();
    let mut publisher = playground.connect();
    let before = playground.memory();
    for number in 0..2_000 {
        publisher.verb(&format!("!pub room {}", long(number)));
    }
    let grown = playground.memory().saturating_sub(before);
    assert!(grown < 20 * 1_500_000, "{grown} bytes");
}
