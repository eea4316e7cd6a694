//! The settings.

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
