//! The rules of axe-core, for every view, in both themes and in a narrow window.

use std::path::Path;

use serde_json::json;

use super::layout::VIEWS;
use super::page::Page;
use super::server::{Options, Server};

/// The script of axe-core, from npm.
fn axe() -> String {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/npm/node_modules/axe-core/axe.min.js");
    let path = std::env::var_os("AXE_CORE").map_or(default, Into::into);
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("axe-core, {}: {error}. Run `.ci/run test_page`, or set AXE_CORE to its axe.min.js", path.display())
    })
}

/// The findings of what the page shows now.
fn assert_accessible(page: &Page, axe: &str, what: &str) {
    let script = "const done = arguments[arguments.length - 1]; \
         axe.run(document, { resultTypes: ['violations'] }).then((result) => done(result.violations \
             .filter((one) => one.impact === 'serious' || one.impact === 'critical') \
             .map((one) => [one.id, one.help, one.nodes.slice(0, 3).map((node) => node.html), \
                 one.nodes[0].failureSummary])), \
             (error) => done(String(error)))";
    if page.browser.run("return typeof axe", json!([])) == "undefined" {
        page.browser.run(&format!("{axe}; window.axe = axe"), json!([]));
    }
    let found = page.browser.run_async(script, json!([]));
    assert!(found == json!([]), "{what}: {found:#}");
}

#[test]
fn no_view_has_serious_findings_in_either_theme() {
    let (axe, server) = (axe(), Server::start(Options { has_feed: true, ..Options::default() }));
    let mut ann = server.peer("ann");
    ann.ask("join lobby");
    ann.ask("name queen");
    drop(server.peer("bob"));
    let page = Page::open(&server, "overview");
    for (theme, width) in [("light", 1400), ("dark", 1400), ("light", 400), ("dark", 400)] {
        page.browser.prefer(theme);
        page.browser.resize(width, 900);
        for view in VIEWS {
            page.show(view);
            page.until(
                "the view has its data",
                "return document.querySelectorAll('#view :is(td, dd, .setting)').length > 0",
            );
            assert_accessible(&page, &axe, &format!("{view}, {theme}, {width}"));
        }
        page.show("connections");
        page.details("ann");
        page.until_text("lobby");
        assert_accessible(&page, &axe, &format!("details, {theme}, {width}"));
        page.button("Kill\u{2026}");
        assert_accessible(&page, &axe, &format!("dialog, {theme}, {width}"));
        page.button("Cancel");
        page.show("settings");
        page.fill("max_connections", "0");
        page.button("Review and apply\u{2026}");
        page.button("Apply");
        page.until_text("Nothing was changed");
        assert_accessible(&page, &axe, &format!("invalid setting, {theme}, {width}"));
    }
    page.show("overview");
    page.button("Suspend\u{2026}");
    page.button("Suspend");
    page.until_text("suspended (close)");
    page.button("Drain\u{2026}");
    page.fill("Grace period", "0");
    page.button("Drain and end the pool");
    page.until_text("Ended by themselves");
    let port = server.port;
    drop(server);
    page.until_text("The connection to the server is lost");
    for theme in ["light", "dark"] {
        page.browser.prefer(theme);
        assert_accessible(&page, &axe, &format!("ended and not connected to port {port}, {theme}"));
    }
}

#[test]
fn the_login_form_has_no_serious_findings() {
    let (axe, token) = (axe(), Some("0123456789abcdef"));
    let server = Server::start(Options { token, ..Options::default() });
    let page = Page { browser: super::webdriver::Browser::start(400, 800), url: server.url() };
    for theme in ["light", "dark"] {
        page.browser.prefer(theme);
        page.browser.open(&page.url);
        page.fill("Token", "wrong");
        page.button("Sign in");
        page.until_text("The token is wrong.");
        assert_accessible(&page, &axe, theme);
    }
}
