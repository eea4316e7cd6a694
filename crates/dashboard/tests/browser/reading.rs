//! What the page shows.

use serde_json::{json, Value};

use super::page::Page;
use super::server::{Options, Server};

const LABEL: usize = 1;

#[test]
fn connections_appear_and_are_sorted_and_filtered() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "connections");
    let _bob = server.peer("bob");
    let _ann = server.peer("ann");
    let mut zoe = server.peer("zoe");
    page.until_column(LABEL, &["bob", "ann", "zoe"]);

    page.button("Label");
    page.until_column(LABEL, &["ann", "bob", "zoe"]);
    page.until("the order is stated", "return document.querySelector('th[aria-sort]').ariaSort === 'ascending'");
    page.click("//th[@aria-sort]//button");
    page.until_column(LABEL, &["zoe", "bob", "ann"]);

    page.fill("Filter by id, label or peer", "N");
    page.until_column(LABEL, &["ann"]);
    page.until_text("1 of 3 connections");
    page.fill("Filter by id, label or peer", "");
    page.choose("State", "closing");
    page.until_text("No connections.");
    page.choose("State", "all");
    zoe.ask("label zelda");
    page.until_column(LABEL, &["zelda", "bob", "ann"]);
    drop(zoe);
    page.until_column(LABEL, &["bob", "ann"]);
    page.assert_clean();
}

#[test]
fn rows_stay_the_same_elements_while_they_update() {
    let server = Server::start(Options::default());
    let mut ann = server.peer("ann");
    let _bob = server.peer("bob");
    let page = Page::open(&server, "connections");
    page.until_column(LABEL, &["ann", "bob"]);
    page.browser.run(
        "document.querySelector('tbody button').focus(); window.row = document.querySelector('tbody tr')",
        json!([]),
    );
    ann.ask("label anna");
    page.until_column(LABEL, &["anna", "bob"]);
    let same =
        "return window.row === document.querySelector('tbody tr') && window.row.contains(document.activeElement)";
    assert_eq!(page.browser.run(same, json!([])), Value::Bool(true));
}

#[test]
fn connections_are_shown_in_pages() {
    let server = Server::start(Options::default());
    let _peers: Vec<_> = (0..60).map(|number| server.peer(&format!("peer {number:02}"))).collect();
    let page = Page::open(&server, "connections");
    page.until_text("Page 1 of 2");
    assert_eq!(page.column(LABEL).len(), 50);
    page.button("Next");
    page.until_text("Page 2 of 2");
    page.until("10 rows are left", "return document.querySelectorAll('tbody tr').length === 10");
    page.choose("Rows", "100");
    page.until("all rows are shown", "return document.querySelectorAll('tbody tr').length === 60");
    page.until_text("Page 1 of 1");
}

#[test]
fn the_overview_shows_numbers_charts_and_listeners() {
    let server = Server::start(Options::default());
    let mut ann = server.peer("ann");
    let page = Page::open(&server, "overview");
    // Only now: a browser may take longer to start than the period of the charts.
    drop(server.peer("bob"));
    let tile = |name: &str, value: &str| {
        let script = "const tiles = [...document.querySelectorAll('.tile')]; \
             const tile = tiles.find((tile) => tile.children[0].innerText === arguments[0]); \
             return tile?.innerText.includes(arguments[1]) ?? false";
        page.until_given(&format!("{name} {value}"), script, json!([name, value]));
    };
    tile("Connections", "1");
    tile("Accepted", "2 in all");
    tile("Ended", "1 in all");
    tile("Descriptors", "of");
    ann.ask("hello");
    tile("Packets", "3 in all");
    page.until_text(&server.pool.to_string());
    page.until(
        "the charts have lines",
        "return document.querySelectorAll('.chart').length === 8 \
        && [...document.querySelectorAll('.legend li')].some((item) => /^peer[0-9.]+.s/.test(item.textContent)) \
        && document.querySelector('.chart .line').getAttribute('d').length > 20",
    );
    for minutes in ["10 min", "60 min", "1 min"] {
        page.button(minutes);
        let pressed = "return document.querySelector('[aria-pressed=true]').innerText === arguments[0]";
        page.until_given(minutes, pressed, json!([minutes]));
    }
    // The crosshair states the time, in all charts.
    page.browser.run("document.querySelector('.plot').focus()", json!([]));
    page.browser.press("\u{E012}");
    page.until(
        "the crosshair is shown",
        "return [...document.querySelectorAll('.cross')]\
        .every((line) => line.getAttribute('visibility') === 'visible')",
    );
    page.assert_clean();
}

#[test]
fn topics_names_and_events_are_shown() {
    let server = Server::start(Options::default());
    let (mut ann, mut bob) = (server.peer("ann"), server.peer("bob"));
    ann.ask("join lobby");
    bob.ask("join lobby");
    ann.ask("join kitchen");
    ann.ask("name queen");
    let page = Page::open(&server, "topics");
    page.until_column(0, &["kitchen", "lobby"]);
    page.button("Members");
    page.until_column(1, &["2", "1"]);
    page.button("lobby");
    page.until_text("Topic lobby");
    page.until_text("bob");

    page.show("names");
    page.until_column(0, &["queen"]);
    page.button("queen");
    page.until("the owner is shown", "return document.querySelector('.details')?.innerText.includes('queen') ?? false");
    page.until_text("kitchen, lobby");

    page.show("events");
    page.until_text("connection started");
    page.choose("Level", "errors");
    page.until_text("No events.");
    page.choose("Level", "all");
    drop(bob);
    page.until_text("connection stopped");
    page.fill("Filter by event or text", "stopped");
    page.until_no_text("connection started");
    page.assert_clean();
}

#[test]
fn several_pools_share_the_page() {
    let server = Server::start(Options { has_feed: true, ..Options::default() });
    let _ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.until_column(LABEL, &["ann"]);
    page.click("//nav[@aria-label = 'Pools']//a[contains(., 'feed')]");
    page.until("the other pool is shown", "return document.querySelector('h1').innerText === 'feed'");
    page.until_text("No connections.");
    page.assert_clean();
}
