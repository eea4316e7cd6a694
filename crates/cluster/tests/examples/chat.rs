//! The example `chat`: three nodes, and what happens when one of them or NATS is killed.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use support::eventually_blocking;

use crate::guests::{command, Node};
use crate::nats_server::NatsServer;

fn nodes(server: &NatsServer) -> [Node; 3] {
    ["a", "b", "c"].map(|name| Node::start(name, &server.url))
}

#[test]
fn guests_of_three_nodes_share_rooms_names_and_messages() {
    let server = NatsServer::start();
    let [a, b, c] = nodes(&server);
    let (mut ann, mut bob, mut cat) = (a.guest("ann"), b.guest("bob"), c.guest("cat"));
    // Names.
    bob.ask("/nick ann", "that name is taken, at node a");
    for guest in [&mut ann, &mut bob, &mut cat] {
        guest.ask("/where cat", "at node c");
        guest.ask("/where dan", "no such guest");
    }
    // Rooms.
    ann.ask("/join attic", "you are in attic");
    bob.ask("/join attic", "you are in attic");
    ann.skip_to("* bob joined");
    cat.ask("/join attic", "you are in attic");
    ann.skip_to("* cat joined");
    bob.skip_to("* cat joined");
    for n in 0..100 {
        ann.send(&format!("line {n}"));
    }
    for n in 0..100 {
        bob.expect(&format!("ann: line {n}"));
        cat.expect(&format!("ann: line {n}"));
    }
    cat.ask("/who", "ann@a bob@b cat@c");
    cat.ask("/nick kim", "you are kim");
    ann.skip_to("* cat is now kim");
    bob.skip_to("* cat is now kim");
    bob.ask("/where cat", "no such guest");
    // Private messages.
    ann.send("/tell kim good morning");
    cat.expect("ann tells you: good morning");
    ann.ask("/tell cat good morning", "no such guest");
    // Leaving.
    cat.send("/quit");
    assert_eq!(cat.rest(), "");
    ann.skip_to("* kim left");
    bob.skip_to("* kim left");
    bob.until("/where kim", "no such guest");
    bob.ask("/who", "ann@a bob@b");
}

#[test]
fn the_names_of_a_killed_node_are_free_after_the_ttl() {
    let server = NatsServer::start();
    let [mut a, b, c] = nodes(&server);
    let ann = a.guest("ann");
    let (mut bob, mut cat) = (b.guest("bob"), c.guest("cat"));
    bob.ask("/nick ann", "that name is taken, at node a");
    a.kill();
    drop(ann);
    cat.until("/where ann", "no such guest");
    bob.ask("/nick ann", "you are ann");
    cat.ask("/where ann", "at node b");
    cat.send("/tell ann welcome");
    bob.expect("cat tells you: welcome");
    // A node of the same name starts at once.
    let a = Node::start("a", &server.url);
    let mut dan = a.guest("dan");
    dan.ask("/nick ann", "that name is taken, at node b");
}

#[test]
fn a_node_that_is_asked_to_stop_frees_its_names_at_once() {
    let server = NatsServer::start();
    let [a, b, _] = nodes(&server);
    let (ann, mut bob) = (a.guest("ann"), b.guest("bob"));
    a.terminate();
    assert_eq!(ann.rest(), "* node a stops; connect to another one\n");
    let (output, status) = a.end();
    assert_eq!(output, ["node a has left; 1 connections were closed"]);
    assert!(status.success(), "{status}");
    bob.ask("/where ann", "no such guest");
    bob.ask("/nick ann", "you are ann");
}

#[test]
fn without_nats_a_room_goes_on_and_guests_know() {
    let mut server = NatsServer::start();
    let [a, b, _] = nodes(&server);
    let (mut ann, mut bob, mut far) = (a.guest("ann"), a.guest("bob"), b.guest("far"));
    for guest in [&mut ann, &mut bob, &mut far] {
        guest.ask("/join attic", "you are in attic");
    }
    ann.skip_to("* far joined");
    bob.skip_to("* far joined");
    server.stop();
    let alone =
        Some("only guests of node a read this: no connection to NATS, or the node has left the cluster".to_owned());
    eventually_blocking(|| ann.say("hello") == alone);
    bob.skip_to("ann: hello");
    server.start_again();
    // Lines that are said before both nodes have connected again do not reach the other one.
    let is_read = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| eventually_blocking(|| ann.say("are you there?").is_none() && is_read.load(Relaxed)));
        far.skip_to("ann: are you there?");
        is_read.store(true, Relaxed);
    });
    bob.until("/where far", "at node b");
    bob.send("/tell far good morning");
    far.skip_to("bob tells you: good morning");
}

#[test]
fn a_node_alone_needs_no_server() {
    let node = Node::start("a", "local");
    let (mut ann, mut bob) = (node.guest("ann"), node.guest("bob"));
    bob.ask("/nick ann", "that name is taken, at node a");
    bob.ask("/join attic", "you are in attic");
    ann.ask("/join attic", "you are in attic");
    bob.skip_to("* ann joined");
    ann.send("hello");
    bob.expect("ann: hello");
    bob.send("/tell ann good morning");
    ann.expect("bob tells you: good morning");
    ann.ask("/who", "ann@a bob@a");
}

#[test]
fn what_cannot_start_says_what_to_do() {
    for (arguments, expected) in [
        (&["--help"][..], "usage: chat [ADDRESS"),
        (&["127.0.0.1:0", "a", "local", "soon"], "TTL: invalid number of seconds \"soon\"\nusage"),
        (&["127.0.0.1:0", "", "local"], "invalid setting node: \"\"; expected 1 to 1,024 bytes"),
        (
            &["127.0.0.1:0", "a", "nats://127.0.0.1:1"],
            "cannot connect to NATS at nats://127.0.0.1:1 (start nats-server",
        ),
    ] {
        let Output { status, stderr, .. } = command(arguments).output().unwrap();
        let error = String::from_utf8(stderr).unwrap();
        assert!(error.starts_with(&format!("Error: {expected}")) && status.code() == Some(1), "{arguments:?}: {error}");
    }
}
