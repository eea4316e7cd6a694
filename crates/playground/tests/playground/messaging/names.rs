//! Names and labels: the verbs `!name`, `!take`, `!tell` and `!label`, the console's `names`.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;

use serde_json::{json, Value};

use super::with_handlers;
use crate::client::Client;
use crate::process::{eventually, playground};

#[test]
fn a_name_belongs_to_one_connection() {
    for framing in ["raw", "lines", "len2"] {
        with_handlers(&format!("--framing {framing} --acceptors 2"), |playground, options| {
            let mut ann = playground.with_verb("!name ann", "ok");
            let mut bob = playground.with_verb("!name ann", "taken");
            for (verb, answer) in [("!name ann", "ok"), ("!name eve", "ok"), ("!name Ann", "ok")] {
                assert_eq!(ann.verb(verb), answer, "{options}: {verb}");
            }
            assert_eq!(bob.verb("!name bob the builder"), "ok", "{options}");
            let names = json!({ "Ann": 1, "ann": 1, "bob": 2, "eve": 1 });
            assert_eq!(playground.json("names"), names, "{options}");
            ann.finish();
            ann.until_gone();
            eventually(|| playground.json("names") == json!({ "bob": 2 }));
            assert_eq!(bob.verb("!name ann"), "ok", "{options}");
        });
    }
}

#[test]
fn taking_a_name_ends_its_owner() {
    with_handlers("--framing lines --acceptors 2", |playground, options| {
        // A free name, and its own.
        let mut owner = playground.with_verb("!take ann", "ok");
        assert_eq!(owner.verb("!take ann"), "ok", "{options}");
        assert_eq!(owner.verb("alive"), "alive", "{options}");
        assert_eq!(playground.json("names"), json!({ "ann": 1 }), "{options}");
        for (replaced, busy) in (1..).zip(["", "!wait 60000", "!block 60000", "!passive 60000", "!spawn 60000"]) {
            if !busy.is_empty() {
                owner.send(busy);
            }
            let mut next = playground.connect();
            assert_eq!(next.verb("!take ann"), "ok", "{options}");
            owner.until_gone();
            playground.has_closed("replaced", replaced);
            assert_eq!(playground.json("names"), json!({ "ann": replaced + 1 }), "{options}: {busy}");
            owner = next;
        }
        assert_eq!(owner.verb("still here"), "still here", "{options}");
    });
}

#[test]
fn a_text_reaches_the_owner_of_a_name() {
    for framing in ["raw", "lines", "len1"] {
        with_handlers(&format!("--framing {framing} --acceptors 2"), |playground, options| {
            let mut ann = playground.with_verb("!name ann", "ok");
            let mut bob = playground.connect();
            for (verb, answer) in [("!tell ann to  you", "ok"), ("!tell Ann to you", "gone"), ("!tell eve hi", "gone")]
            {
                assert_eq!(bob.verb(verb), answer, "{options}: {verb}");
            }
            assert_eq!(ann.text(), "to  you", "{options}");
            // To itself as well.
            assert_eq!(bob.verb("!name bob"), "ok", "{options}");
            bob.send(if framing == "raw" { "!tell bob me\n" } else { "!tell bob me" });
            let mut both = String::new();
            while both.trim_end().len() < 4 {
                both += &bob.receive();
            }
            assert!(both.contains("ok") && both.contains("me"), "{options}: {both}");
            ann.finish();
            ann.until_gone();
            eventually(|| bob.verb("!tell ann hi") == "gone");
        });
    }
}

#[test]
fn verbs_of_names_without_a_name_are_echoed() {
    with_handlers("--framing lines", |playground, options| {
        let mut client = playground.with_verb("!name ann", "ok");
        for packet in ["!name", "!name ", "!name  ann", "!take", "!take ", "!tell", "!tell ann", "!tell  hi", "!labels"]
        {
            assert_eq!(client.verb(packet), packet, "{options}");
        }
        assert_eq!(playground.json("names"), json!({ "ann": 1 }), "{options}");
    });
}

/// Twenty clients race for one name, with and without force: it has one owner at every moment.
#[test]
fn a_contested_name_has_one_owner() {
    with_handlers("--framing lines --acceptors 2", |playground, options| {
        for verb in ["!name", "!take"] {
            let owners = Arc::new(AtomicUsize::new(0));
            let mut clients: Vec<Client> = (0..20).map(|_| playground.greeted()).collect();
            let racing = clients.drain(..).map(|mut client| {
                let owners = owners.clone();
                let claim = format!("{verb} {verb}-it");
                thread::spawn(move || {
                    // A client that loses the name at once may not get its answer.
                    if client.try_ask(&claim).as_deref() == Some("ok") {
                        owners.fetch_add(1, SeqCst);
                    }
                    client
                })
            });
            let racing: Vec<_> = racing.collect();
            let clients: Vec<Client> = racing.into_iter().map(|client| client.join().unwrap()).collect();
            let names = playground.json("names");
            let owner = names[format!("{verb}-it")].clone();
            assert!(owner.is_u64(), "{options}: {names}");
            if verb == "!name" {
                assert_eq!(owners.load(SeqCst), 1, "{options}");
            } else {
                playground.has_closed("replaced", 19);
                assert_eq!(names.as_object().unwrap().len(), 1, "{options}: {names}");
                let ids: Vec<Value> =
                    playground.json("list").as_array().unwrap().iter().map(|listed| listed["id"].clone()).collect();
                assert_eq!(ids, [owner], "{options}");
            }
            drop(clients);
            eventually(|| playground.json("info")["connections"] == 0);
        }
    });
}

#[test]
fn a_label_is_shown_in_the_list() {
    with_handlers("--framing lines", |playground, options| {
        let mut client = playground.greeted();
        playground.shows(1, "label", Value::Null);
        for label in ["ann", "two words ", "größe"] {
            assert_eq!(client.verb(&format!("!label {label}")), "ok", "{options}");
            playground.shows(1, "label", label);
        }
        assert_eq!(client.verb("!label "), "ok", "{options}");
        playground.shows(1, "label", Value::Null);
        assert_eq!(client.verb(&format!("!label {}", "x".repeat(4097))), "too long", "{options}");
    });
}

#[test]
fn the_number_of_names_of_a_connection_is_bounded() {
    let playground = playground("--framing lines");
    let mut client = playground.connect();
    let names: Vec<_> = (0..10_000).map(|number| format!("!name {number}")).collect();
    client.send_all(&names.iter().map(|name| &**name).collect::<Vec<_>>());
    client.expect(&["ok"; 10_000]);
    for (verb, answer) in [
        ("!name one-more", "too many names"),
        ("!take one-more", "too many names"),
        ("!name 7", "ok"),
        ("!take 7", "ok"),
    ] {
        assert_eq!(client.verb(verb), answer, "{verb}");
    }
    assert_eq!(playground.json("names").as_object().unwrap().len(), 10_000);
}
