//! The server ends and comes back, and the page is hidden, while the page is open.

use std::net::TcpListener;

use serde_json::{json, Value};

use super::page::Page;
use super::server::{Options, Server, Viewer};
use super::webdriver::{eventually, Browser};

#[test]
fn the_page_says_that_it_is_old_and_recovers() {
    let server = Server::start(Options::default());
    let ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.until_column(1, &["ann"]);
    page.browser.run("window.same = true", json!([]));
    let port = server.port;
    drop((server, ann));
    page.until_text("The connection to the server is lost.");
    page.until("the age is shown", "return /are [1-9][\\d.]* s old/.test(document.getElementById('stale').innerText)");
    page.until("the numbers are not live", "return document.getElementById('live').innerText === 'Not connected'");

    let server = Server::start(Options { port, ..Options::default() });
    let _bob = server.peer("bob");
    page.until_text("The server was restarted");
    page.until_no_text("The connection to the server is lost.");
    page.until_column(1, &["bob"]);
    page.wait_for_live();
    assert_eq!(
        page.browser.run("return window.same === true", json!([])),
        Value::Bool(true),
        "the page was not loaded anew"
    );
}

#[test]
fn a_hidden_page_reads_nothing() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    page.until_text("1 viewer");
    let mut watcher = Viewer::open(&server);
    hide(&page, true);
    watcher.until_viewers(1);
    hide(&page, false);
    watcher.until_viewers(2);
    page.wait_for_live();
    page.assert_clean();
}

/// Shifts the clock of the page by a minute.
const LATER: &str = "const now = performance.now.bind(performance); performance.now = () => now() + 60_000";

/// Hides the page, or shows it again.
fn hide(page: &Page, is_hidden: bool) {
    let script = "Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true }); \
         document.dispatchEvent(new Event('visibilitychange'))";
    page.browser.run(script, json!([is_hidden]));
}

#[test]
fn the_age_counts_from_the_last_update() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    hide(&page, true);
    drop(server);
    page.browser.run(LATER, json!([]));
    hide(&page, false);
    page.until_text("The connection to the server is lost.");
    page.until("the age is that of the numbers", "return /are 1 m \\d\\d s old/.test(document.body.innerText)");
    page.until(
        "it is read aloud once",
        "return document.getElementById('said').textContent === 'The connection to the server is lost.'",
    );
}

#[test]
fn the_page_recovers_from_a_server_that_is_silent() {
    let server = Server::start(Options::default());
    let port = server.port;
    let page = Page::open(&server, "overview");
    drop(server);
    page.until_text("The connection to the server is lost.");
    // Connections are made, and nothing is ever answered.
    let silent = eventually("the port is free", || TcpListener::bind(("127.0.0.1", port)).ok());
    silent.set_nonblocking(true).expect("a socket");
    let held: Vec<_> = (0..2).map(|_| eventually("the page tries again", || silent.accept().ok())).collect();
    drop(silent);
    let _server = Server::start(Options { port, ..Options::default() });
    page.wait_for_live();
    page.until_no_text("The connection to the server is lost.");
    page.until_text("The server was restarted");
    page.until("it is read aloud", "return /connected again/.test(document.getElementById('said').textContent)");
    drop(held);
}

#[test]
fn unanswered_requests_show_the_age_of_the_data() {
    let server = Server::start(Options::default());
    let _ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.details("ann");
    page.until_text("Left out");
    // The updates go on, but the requests of the view have no answer.
    let stop = "window.send = window.fetch; window.fetch = (path, options) => path === 'stream' \
         ? window.send(path, options) : new Promise((_, fail) => \
             options.signal.addEventListener('abort', () => fail(options.signal.reason)));";
    page.browser.run(stop, json!([]));
    page.until_text("These rows are");
    page.until_text("These values are");
    page.until_text("The server did not answer within 10 seconds.");
    page.until("the updates go on", "return document.getElementById('live').innerText === 'Live'");
    page.browser.run("window.fetch = window.send", json!([]));
    for gone in ["These rows are", "These values are", "The server did not answer"] {
        page.until_no_text(gone);
    }

    page.show("overview");
    page.until("there are values", "return document.querySelector('.chart-latest').textContent === '1'");
    page.browser.run(stop, json!([]));
    page.until_text("The charts are");
    page.browser.run("window.fetch = window.send", json!([]));
    page.until_no_text("The charts are");
    page.assert_clean();
}

#[test]
fn the_page_says_that_there_are_too_many_viewers() {
    let server = Server::start(Options::default());
    let mut viewers: Vec<_> = (0..32).map(|_| Viewer::open(&server)).collect();
    viewers[31].until_viewers(32);
    let page = Page { browser: Browser::start(1400, 900), url: server.url() };
    page.browser.open(&page.url);
    page.until_text("32 viewers receive updates, which is the limit.");
    page.until_no_text("The connection to the server is lost.");
    drop(viewers);
    page.wait_for_live();
    page.until_no_text("which is the limit");
}

#[test]
fn events_that_were_missed_are_read_after_a_reconnect() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "events");
    page.until_text("No events.");
    let mut watcher = Viewer::open(&server);
    hide(&page, true);
    watcher.until_viewers(1);
    drop(server.peer("ann"));
    watcher.until("connection_stopped");
    hide(&page, false);
    page.until_text("connection stopped");
    page.assert_clean();
}
