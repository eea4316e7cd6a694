//! The handler `chat`.

use crate::client::Client;
use crate::process::{playground, Playground};

/// A client that the hub has registered.
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
fn a_killed_guest_is_announced_as_left() {
    let playground = playground("--handler chat --max-frame 100");
    let (mut one, mut two) = (join(&playground), join(&playground));
    one.expect(&["* guest-2 joined"]);
    assert_eq!(playground.command("kill 2"), "ok");
    one.expect(&["* guest-2 left"]);
    two.until_gone();
    let mut three = join(&playground);
    one.expect(&["* guest-3 joined"]);
    three.send(&"x".repeat(101));
    one.expect(&["* guest-3 left"]);
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
