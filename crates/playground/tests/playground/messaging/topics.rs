//! Topics: the verbs `!join`, `!leave` and `!pub`, the console's `publish` and `topics`.

use std::thread;

use serde_json::json;

use super::with_handlers;
use crate::process::{eventually, playground};

#[test]
fn a_publish_reaches_the_other_members_and_counts_them() {
    for framing in ["raw", "lines", "len1", "len2", "len4", "len8"] {
        with_handlers(&format!("--framing {framing} --acceptors 2"), |playground, options| {
            let (mut one, mut two) = (playground.member("room"), playground.member("room"));
            // The publisher need not be a member.
            let mut other = playground.connect();
            assert_eq!(other.verb("!pub room to  all"), "ok 2", "{options}");
            assert_eq!(one.text(), "to  all", "{options}");
            assert_eq!(two.text(), "to  all", "{options}");
            // It does not receive its own text.
            assert_eq!(one.verb("!pub room from one"), "ok 1", "{options}");
            assert_eq!(two.text(), "from one", "{options}");
            assert_eq!(one.verb("!count"), "3", "{options}");
            assert_eq!(other.verb("!count"), "2", "{options}");
        });
    }
}

#[test]
fn a_raw_text_for_others_ends_as_the_verb_did() {
    with_handlers("--framing raw", |playground, options| {
        let mut member = playground.connect();
        assert_eq!(member.ask("!join room"), "joined", "{options}");
        assert_eq!(member.ask("!name ann\n"), "ok\n", "{options}");
        let mut other = playground.connect();
        for ending in ["", "\n", "\r\n"] {
            assert_eq!(other.ask(&format!("!pub room text{ending}")), format!("ok 1{ending}"), "{options}");
            assert_eq!(member.receive(), format!("text{ending}"), "{options}");
            assert_eq!(other.ask(&format!("!tell ann text{ending}")), format!("ok{ending}"), "{options}");
            assert_eq!(member.receive(), format!("text{ending}"), "{options}");
        }
    });
}

#[test]
fn joining_twice_is_joining_once() {
    with_handlers("--framing lines", |playground, options| {
        let (mut member, mut other) = (playground.member("room"), playground.connect());
        assert_eq!(member.verb("!join room"), "joined", "{options}");
        assert_eq!(playground.json("topics"), json!({ "room": 1 }), "{options}");
        assert_eq!(other.verb("!pub room once"), "ok 1", "{options}");
        member.expect(&["once"]);
        assert_eq!(member.verb("!leave room"), "left", "{options}");
        assert_eq!(other.verb("!pub room after"), "ok 0", "{options}");
        assert_eq!(member.verb("!count"), "4", "{options}");
        // Leaving a topic that it is not in.
        assert_eq!(member.verb("!leave room"), "left", "{options}");
        assert_eq!(member.verb("!join room"), "joined", "{options}");
        assert_eq!(other.verb("!pub room again"), "ok 1", "{options}");
        member.expect(&["again"]);
    });
}

/// Others publish all the time: some of it comes before `left`, nothing after it.
#[test]
fn nothing_arrives_after_the_answer_to_leave() {
    with_handlers("--framing lines --acceptors 2", |playground, options| {
        let address = playground.address();
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let mut publisher = crate::client::Client::connect(address, playground.wire());
                thread::spawn(move || while publisher.try_ask("!pub room storm").is_some() {})
            })
            .collect();
        for _ in 0..20 {
            let mut member = playground.member("room");
            member.expect(&["storm"; 3]);
            member.send("!leave room");
            while member.receive() != "left" {}
            member.send("still here");
            member.expect(&["still here"]);
            assert_eq!(member.verb("!count"), "4", "{options}");
        }
        drop(playground);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn publishing_makes_no_topic_and_empty_ones_are_not_listed() {
    with_handlers("--framing lines", |playground, options| {
        let mut other = playground.connect();
        assert_eq!(other.verb("!pub nowhere text"), "ok 0", "{options}");
        assert_eq!(playground.command("publish nowhere text"), "ok 0", "{options}");
        assert_eq!(other.verb("!leave nowhere"), "left", "{options}");
        assert_eq!(playground.json("topics"), json!({}), "{options}");
        let (mut one, two) = (playground.member("room"), playground.member("room"));
        let three = playground.member("other");
        assert_eq!(playground.json("topics"), json!({ "other": 1, "room": 2 }), "{options}");
        assert_eq!(one.verb("!leave room"), "left", "{options}");
        assert_eq!(playground.json("topics"), json!({ "other": 1, "room": 1 }), "{options}");
        drop((two, three));
        eventually(|| playground.json("topics") == json!({}));
    });
}

#[test]
fn a_connection_leaves_its_topics_however_it_ends() {
    with_handlers("--framing lines --idle-timeout 300 --max-frame 100", |playground, options| {
        for end in ["!stop", "!panic", "!fail", "!bye now", "fin", "kill", "close", "idle", "too long"] {
            let mut member = playground.member("room");
            assert_eq!(member.verb("!join other"), "joined", "{options}");
            let id = member.verb("!id");
            match end {
                "fin" => member.finish(),
                "kill" => assert_eq!(playground.command(&format!("kill {id}")), "ok"),
                "close" => assert_eq!(playground.command(&format!("close {id} 1000")), "ok"),
                "too long" => member.send(&"x".repeat(101)),
                "idle" => {}
                verb => member.send(verb),
            }
            member.until_gone();
            eventually(|| playground.json("topics") == json!({}));
        }
    });
}

#[test]
fn a_topic_ends_at_the_first_space_and_case_counts() {
    with_handlers("--framing lines", |playground, options| {
        let mut member = playground.member("Room is what they call it");
        let mut other = playground.connect();
        assert_eq!(playground.json("topics"), json!({ "Room": 1 }), "{options}");
        for (verb, answer) in [
            ("!pub room text", "ok 0"),
            ("!pub Room  two spaces", "ok 1"),
            ("!pub Room ", "ok 1"),
            // Not verbs: echoed unchanged.
            ("!join", "!join"),
            ("!join ", "!join "),
            ("!join  Room", "!join  Room"),
            ("!leave", "!leave"),
            ("!pub", "!pub"),
            ("!pub Room", "!pub Room"),
            ("!pub  text", "!pub  text"),
            ("!JOIN Room", "!JOIN Room"),
            ("!joined Room", "!joined Room"),
        ] {
            assert_eq!(other.verb(verb), answer, "{options}");
        }
        member.expect(&[" two spaces", ""]);
        assert_eq!(member.verb("!leave Room with a view"), "left", "{options}");
        assert_eq!(playground.json("topics"), json!({}), "{options}");
    });
}

#[test]
fn a_topic_that_is_not_text_is_no_verb() {
    with_handlers("--framing lines", |playground, options| {
        let mut client = playground.connect();
        client.send_wire(b"!join r\xffm\n");
        assert_eq!(client.read(10), b"!join r\xffm\n", "{options}");
        assert_eq!(playground.json("topics"), json!({}), "{options}");
        // Any other text is.
        assert_eq!(client.verb("!join größe-☃"), "joined", "{options}");
        assert_eq!(playground.json("topics"), json!({ "größe-☃": 1 }), "{options}");
        assert_eq!(playground.command("publish größe-☃ ☃☃"), "ok 1", "{options}");
        client.expect(&["☃☃"]);
    });
}

#[test]
fn a_publisher_is_received_in_order_by_every_member() {
    with_handlers("--framing lines --acceptors 2", |playground, _| {
        let mut members: Vec<_> = (0..4).map(|_| playground.member("room")).collect();
        let publishers: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|name| {
                let mut publisher = playground.connect();
                thread::spawn(move || {
                    let texts: Vec<_> = (0..500).map(|number| format!("!pub room {name} {number}")).collect();
                    publisher.send_all(&texts.iter().map(|text| &**text).collect::<Vec<_>>());
                    publisher.expect(&["ok 4"; 500]);
                })
            })
            .collect();
        for member in &mut members {
            let mut next = [0; 2];
            for _ in 0..1000 {
                let text = member.receive();
                let (name, number) = text.split_once(' ').unwrap();
                let next = &mut next[usize::from(name == "b")];
                assert_eq!(number.parse::<usize>().unwrap(), *next, "{name}");
                *next += 1;
            }
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn the_console_publishes_to_every_member() {
    for framing in ["raw", "lines", "len2"] {
        with_handlers(&format!("--framing {framing}"), |playground, options| {
            let (mut one, mut two) = (playground.member("room"), playground.member("room"));
            let mut third = playground.member("other");
            assert_eq!(playground.command("publish room to  you"), "ok 2", "{options}");
            assert_eq!(one.receive(), "to  you", "{options}");
            assert_eq!(two.receive(), "to  you", "{options}");
            assert_eq!(third.verb("!count"), "2", "{options}");
        });
    }
    let playground = playground("--framing len1");
    for command in ["publish", "publish room", &format!("publish room {}", "x".repeat(256))] {
        assert!(playground.command(command).starts_with("error: "), "{command}");
    }
}

#[test]
fn the_number_of_topics_of_a_connection_is_bounded() {
    with_handlers("--framing lines", |playground, options| {
        let mut client = playground.connect();
        let joins: Vec<_> = (0..10_000).map(|number| format!("!join {number}")).collect();
        client.send_all(&joins.iter().map(|join| &**join).collect::<Vec<_>>());
        client.expect(&["joined"; 10_000]);
        for (verb, answer) in [
            ("!join one-more", "too many topics"),
            ("!join 7", "joined"),
            ("!leave 7", "left"),
            ("!leave 7", "left"),
            ("!join one-more", "joined"),
            ("!join 7", "too many topics"),
            (&format!("!leave {}", "x".repeat(4097)), "too long"),
        ] {
            assert_eq!(client.verb(verb), answer, "{options}: {verb}");
        }
        assert_eq!(playground.json("topics").as_object().unwrap().len(), 10_000, "{options}");
        client.finish();
        client.until_gone();
        eventually(|| playground.json("topics") == json!({}));
    });
}
