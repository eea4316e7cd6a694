//! Sizes and themes.

use serde_json::{json, Value};

use super::page::Page;
use super::server::{Options, Server};

pub(crate) const VIEWS: [&str; 6] = ["overview", "connections", "topics", "names", "events", "settings"];

#[test]
fn no_width_needs_horizontal_scrolling() {
    let server = Server::start(Options { has_feed: true, ..Options::default() });
    let long = "a label that is longer than a narrow window, ".repeat(5) + "end";
    let mut peers: Vec<_> = ["ann", &long, &"x".repeat(200)].iter().map(|label| server.peer(label)).collect();
    for peer in &mut peers {
        peer.ask(&format!("join {}", "topic".repeat(30)));
        peer.ask(&format!("name {}", peer.0.get_ref().local_addr().expect("an address")));
    }
    let page = Page::open(&server, "overview");
    for width in [320, 400, 700, 1000, 1400, 2000] {
        page.browser.resize(width, 900);
        for view in VIEWS {
            page.show(view);
            let script = "const root = document.documentElement; return innerWidth === arguments[0] \
                 && root.scrollWidth <= root.clientWidth && document.getElementById('view').childElementCount > 0";
            page.until_given(&format!("{view} at {width} px"), script, json!([width]));
        }
        page.show("connections");
        page.details("ann");
        page.button("Close in order\u{2026}");
        let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth \
             && document.querySelector('dialog').getBoundingClientRect().right <= innerWidth";
        assert_eq!(page.browser.run(fits, json!([])), Value::Bool(true), "details at {width} px");
        page.button("Cancel");
    }
    page.assert_clean();
}

#[test]
fn the_theme_is_that_of_the_system_or_the_chosen_one() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    let is_dark = "const [red] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number); \
         return (red < 128) === arguments[0]";
    for (system, chosen, expected) in [
        ("light", "Auto theme", false),
        ("dark", "Auto theme", true),
        ("dark", "Light", false),
        ("light", "Dark", true),
    ] {
        page.browser.prefer(system);
        page.choose("Theme", chosen);
        page.until_given(&format!("{system}, {chosen}"), is_dark, json!([expected]));
        page.browser.reload();
        page.wait_for_live();
        page.until_given(&format!("{system}, {chosen}, after a reload"), is_dark, json!([expected]));
    }
    page.assert_clean();
}

#[test]
fn all_files_together_are_below_150_kb() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    let script = "return [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')] \
         .filter((entry) => !/\\/(api|stream)/.test(entry.name)).map((entry) => [entry.name, entry.decodedBodySize])";
    let loaded: Vec<(String, u64)> = serde_json::from_value(page.browser.run(script, json!([]))).expect("sizes");
    let sum: u64 = loaded.iter().map(|(_, size)| size).sum();
    assert!(loaded.len() > 10 && sum > 50_000, "the files are measured: {loaded:?}");
    assert!(sum < 150_000, "{sum} bytes: {loaded:?}");
    assert!(loaded.iter().all(|(name, _)| name.starts_with(&server.url())), "no file of another server: {loaded:?}");
}
