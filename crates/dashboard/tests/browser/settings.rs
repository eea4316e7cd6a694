//! The settings.

use serde_json::{json, Value};

use super::page::Page;
use super::server::{is_refused, Options, Server};

#[test]
fn a_changed_limit_refuses_the_next_peer() {
    let server = Server::start(Options::default());
    let _ann = server.peer("ann");
    let page = Page::open(&server, "settings");
    page.fill("max_connections", "1");
    page.fill("at_limit", "close");
    page.until_text("2 changes not applied");
    page.button("Review and apply\u{2026}");
    page.until_text("max_connections: 16384 becomes 1");
    page.button("Apply");
    page.until_text("The settings were changed.");
    assert!(is_refused(server.pool));
    page.show("overview");
    page.until_text("of 1");
    page.assert_clean();
}

#[test]
fn an_invalid_setting_shows_its_error_at_the_field() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "settings");
    page.fill("max_connections", "0");
    page.fill("idle_timeout", "5m");
    page.button("Review and apply\u{2026}");
    page.button("Apply");
    page.until(
        "the error is at the field, which has the focus",
        "const field = document.activeElement; \
        return field.name === 'max_connections' && field.getAttribute('aria-invalid') === 'true' \
            && field.closest('.setting').querySelector('.error').innerText.includes('at least 1')",
    );
    page.until_text("Nothing was changed");
    page.until(
        "the field is in sight",
        "const place = document.activeElement.getBoundingClientRect(); \
         return document.elementFromPoint(place.left + 9, place.top + 9) === document.activeElement",
    );
    page.fill("max_connections", "many");
    page.button("Discard");
    page.until_no_text("Nothing was changed");
    page.fill("idle_timeout", "soon");
    page.button("Review and apply\u{2026}");
    page.button("Apply");
    page.until(
        "the error is at the field",
        "return document.activeElement.name === 'idle_timeout' \
        && document.activeElement.closest('.setting').querySelector('.error').innerText !== ''",
    );
    page.assert_clean();
}

#[test]
fn settings_state_unit_default_and_effect() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "settings");
    page.fill("Filter by name", "idle_timeout");
    page.until(
        "one setting is left",
        "return [...document.querySelectorAll('.setting')].filter((one) => !one.hidden).length === 1",
    );
    for text in ["How long a peer may be silent", "Unit: a duration", "Default: 1m", "Takes effect for new connections"]
    {
        page.until_text(text);
    }
}

#[test]
fn a_setting_that_another_viewer_changed_is_not_overwritten() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "settings");
    page.fill("rules", "deny 192.0.2.0/24");
    page.until_text("1 change not applied");
    let act = |path: &str, body: Value| {
        let script = "const done = arguments[2]; fetch(`api/pools/0/${arguments[0]}`, { method: 'POST', \
             headers: { 'Content-Type': 'application/json', 'X-Dashboard': '1' }, body: JSON.stringify(arguments[1]) }) \
             .then((response) => done(response.status))";
        assert_eq!(page.browser.run_async(script, json!([path, body])), json!(200));
    };
    let rules = || {
        let script = "const done = arguments[0]; fetch('api/pools/0/settings').then((response) => response.json()) \
             .then((answer) => done(answer.settings.find((one) => one.name === 'rules').value))";
        page.browser.run_async(script, json!([]))
    };
    act("deny", json!({"address": "198.51.100.7"}));
    act("settings", json!({"max_connections": 99}));
    page.until("others follow", "return document.querySelector('[name=max_connections]').value === '99'");
    page.until("the change stays", "return document.querySelector('[name=rules]').value === 'deny 192.0.2.0/24'");
    page.button("Review and apply\u{2026}");
    page.button("Apply");
    page.until_text("It was changed to deny 198.51.100.7/32 in the meantime.");
    assert_eq!(rules(), json!(["deny 198.51.100.7/32"]));
    page.button("Review and apply\u{2026}");
    page.until_text("rules: deny 198.51.100.7/32 becomes deny 192.0.2.0/24");
    page.button("Apply");
    page.until_text("The settings were changed.");
    assert_eq!(rules(), json!(["deny 192.0.2.0/24"]));
    page.assert_clean();
}
