//! The server ends and comes back, and the page is hidden, while the page is open.

use serde_json::{json, Value};

use super::page::Page;
use super::server::{Options, Server};

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
    let hide = "Object.defineProperty(document, 'hidden', { value: arguments[0], configurable: true }); \
         document.dispatchEvent(new Event('visibilitychange'))";
    let mut watcher = super::server::Viewer::open(&server);
    page.browser.run(hide, json!([true]));
    watcher.until_viewers(1);
    page.browser.run(hide, json!([false]));
    watcher.until_viewers(2);
    page.wait_for_live();
    page.assert_clean();
}
