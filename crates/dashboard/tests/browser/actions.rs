//! What the page does, as the peers see it.

use std::net::TcpStream;

use super::page::Page;
use super::server::{is_refused, Options, Server};
use super::webdriver::eventually;

#[test]
fn a_text_reaches_one_a_topic_or_all() {
    let server = Server::start(Options::default());
    let (mut ann, mut bob) = (server.peer("ann"), server.peer("bob"));
    bob.ask("join lobby");
    let page = Page::open(&server, "connections");

    page.details("ann");
    page.button("Send text\u{2026}");
    page.fill("Text", "only <b>ann</b>");
    page.button("Send");
    page.until_text("Sent to 1 connection.");
    assert_eq!(ann.line().as_deref(), Some("only <b>ann</b>"));

    page.button("Send\u{2026}");
    page.choose("To", "the members of a topic");
    page.fill("Topic or connection id", "lobby");
    page.fill("Text", "the lobby");
    page.button("Send");
    page.until_closed();
    assert_eq!(bob.line().as_deref(), Some("the lobby"));

    page.button("Send\u{2026}");
    page.fill("Text", "everyone");
    page.button("Send");
    page.until_text("Sent to 2 connections.");
    assert_eq!(ann.line().as_deref(), Some("everyone"));
    assert_eq!(bob.line().as_deref(), Some("everyone"));
    page.assert_clean();
}

#[test]
fn a_connection_is_closed_in_order_or_killed() {
    let server = Server::start(Options::default());
    let (mut ann, mut bob) = (server.peer("ann"), server.peer("bob"));
    let page = Page::open(&server, "connections");

    page.details("ann");
    page.button("Close in order\u{2026}");
    page.fill("Last text", "bye");
    page.button("Close in order");
    page.until_closed();
    assert_eq!(ann.line().as_deref(), Some("bye"));
    assert!(ann.has_ended());
    page.until_text("This connection has ended.");

    page.details("bob");
    page.button("Kill\u{2026}");
    // The dialog names what is ended, and another key than return is needed.
    page.until_text("(bob) is ended at once");
    page.until("nothing dangerous is preset", "return document.activeElement.innerText === 'Cancel'");
    page.button("Kill");
    assert!(bob.has_ended());
    page.until_text("No connections.");
    page.assert_clean();
}

#[test]
fn cancelled_actions_change_nothing() {
    let server = Server::start(Options::default());
    let mut ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.details("ann");
    page.button("Kill\u{2026}");
    page.button("Cancel");
    page.until_closed();
    page.until("the focus is where it was", "return document.activeElement.innerText === 'Kill\u{2026}'");
    page.button("Suspend\u{2026}");
    page.browser.press("\u{E00C}");
    page.until_closed();
    ann.ask("still here");
    drop(server.peer("bob"));
}

#[test]
fn a_pool_is_suspended_and_resumed() {
    let server = Server::start(Options::default());
    let mut ann = server.peer("ann");
    let page = Page::open(&server, "overview");
    page.button("Suspend\u{2026}");
    page.button("Suspend");
    page.until_text("suspended (close)");
    page.until_text("not ready");
    assert!(TcpStream::connect(server.pool).is_err(), "the listening socket is closed");
    ann.ask("still here");
    page.button("Resume");
    page.until("the pool runs", "return document.getElementById('status').innerText === 'running'");
    drop(server.peer("bob"));

    page.button("Suspend\u{2026}");
    page.check("wait: the listening sockets stay open");
    page.button("Suspend");
    page.until_text("suspended (hold)");
    let waiting = TcpStream::connect(server.pool);
    assert!(waiting.is_ok(), "the kernel completes the connection");
    page.button("Resume");
    page.until("the pool runs", "return document.getElementById('status').innerText === 'running'");
    page.assert_clean();
}

#[test]
fn an_address_is_denied_and_allowed_again() {
    let server = Server::start(Options::default());
    let mut ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.details("ann");
    page.button("Deny address\u{2026}");
    page.check("End its live connections at once");
    page.button("Deny");
    page.until_text("deny 127.0.0.1/32");
    assert!(ann.has_ended());
    assert!(is_refused(server.pool));

    page.button("Allow\u{2026}");
    page.fill("Address or block", "127.0.0.2");
    page.button("Remove the rule");
    page.until("the error is shown", "return document.querySelector('dialog .error').innerText.includes('no rule')");
    page.fill("Address or block", "127.0.0.1");
    page.button("Remove the rule");
    page.until_closed();
    server.peer("bob").ask("hello");
    page.assert_clean();
}

#[test]
fn an_invalid_address_is_an_error_in_the_dialog() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    page.button("Deny\u{2026}");
    page.fill("Address or block", "not an address");
    page.button("Deny");
    page.until(
        "the error is shown",
        "return document.querySelector('dialog .error').innerText.includes('not an address')",
    );
    assert!(page.has_dialog());
}

#[test]
fn certificates_are_reloaded() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    page.button("Reload certificates\u{2026}");
    page.button("Reload");
    page.until_text("The certificates were reloaded.");
}

#[test]
fn a_drain_counts_down_and_shows_its_report() {
    let server = Server::start(Options::default());
    let _ann = server.peer("ann");
    let page = Page::open(&server, "overview");
    page.button("Drain\u{2026}");
    page.until_text("Its 1 live connection");
    page.fill("Grace period", "30");
    page.fill("Delay", "600");
    page.button("Drain and end the pool");
    page.until_text("draining");
    page.until(
        "the time that is left is shown",
        "return /^\\d+ s left$/.test(document.querySelector('.countdown').innerText)",
    );
    // A second drain only shortens the first.
    page.button("Drain\u{2026}");
    page.until_text("Another drain can only end the current one earlier.");
    page.fill("Grace period", "0");
    page.fill("Delay", "0");
    page.button("Drain and end the pool");
    page.until(
        "the report is shown",
        "return /Ended by themselves/.test(document.getElementById('drain').innerText) \
        && /Notified\\n1/.test(document.getElementById('drain').innerText)",
    );
    page.until("the pool has ended", "return document.getElementById('status').innerText === 'ended'");
    assert!(!page.has_button("Drain\u{2026}"));
    eventually("the port is closed", || TcpStream::connect(server.pool).is_err().then_some(()));
    page.assert_clean();
}

#[test]
fn a_read_only_page_offers_no_action() {
    let server = Server::start(Options { is_read_only: true, ..Options::default() });
    let _ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.until_text("Read-only");
    page.details("ann");
    page.until_text("Left out");
    for name in
        ["Suspend\u{2026}", "Drain\u{2026}", "Deny\u{2026}", "Send\u{2026}", "Kill\u{2026}", "Send text\u{2026}"]
    {
        assert!(!page.has_button(name), "{name}");
    }
    page.show("settings");
    page.until(
        "no field can be changed",
        "return document.querySelectorAll('.setting').length > 20 \
        && [...document.querySelectorAll('.setting :is(input, select, textarea)')].every((field) => field.disabled)",
    );
    page.assert_clean();
}
