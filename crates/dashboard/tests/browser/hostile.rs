//! Texts of peers that try to become markup, scripts or other texts.

use serde_json::{json, Value};

use super::page::Page;
use super::server::{Options, Server};

const TEXTS: [&str; 8] = [
    "<img src=x onerror=\"window.ran=1\">",
    "</script><script>window.ran=1</script>",
    "\"' onmouseover='window.ran=1' x=\"",
    "<svg/onload=window.ran=1>",
    "javascript:window.ran=1",
    "{{constructor.constructor('window.ran=1')()}}",
    "\u{202e}txet esrever",
    "bell\u{7}escape\u{1b}[31m",
];

fn shown(text: &str) -> String {
    text.replace('\u{202e}', "\u{2039}U+202E\u{203a}").replace('\u{7}', "\u{2407}").replace('\u{1b}', "\u{241b}")
}

#[test]
fn hostile_texts_are_shown_as_text() {
    let server = Server::start(Options::default());
    let mut peers: Vec<_> = TEXTS.iter().map(|text| server.peer(text)).collect();
    for (peer, text) in peers.iter_mut().zip(TEXTS) {
        peer.ask(&format!("join {text}"));
        peer.ask(&format!("name {text}"));
    }
    let page = Page::open(&server, "connections");
    let expected: Vec<_> = TEXTS.iter().map(|text| shown(text)).collect();
    let all_shown = "const texts = [...document.querySelectorAll('.table tbody bdi')].map((one) => one.textContent); \
         return arguments[0].every((text) => texts.includes(text))";
    page.until_given("the labels are shown", all_shown, json!([expected]));
    page.details(&expected[0]);
    page.button("Kill\u{2026}");
    page.until_given(
        "the dialog shows the label",
        "return document.querySelector('dialog').textContent.includes(arguments[0])",
        json!([&expected[0]]),
    );
    page.button("Cancel");
    page.show("topics");
    page.until_given("the topics are shown", all_shown, json!([expected]));
    page.button(&expected[1]);
    page.until_text(&format!("Topic {}", expected[1]));
    page.show("names");
    page.until_given("the names are shown", all_shown, json!([expected]));
    page.show("events");
    page.until_text("connection started");

    let markup = "return document.querySelectorAll('main img, main script, main [onmouseover], main [onerror]').length";
    assert_eq!(page.browser.run(markup, json!([])), json!(0));
    assert_eq!(page.browser.run("return window.ran ?? null", json!([])), Value::Null);
    page.assert_clean();
}

#[test]
fn the_policy_stops_scripts_that_would_be_inserted() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    page.browser.run(
        "window.violations = []; document.addEventListener('securitypolicyviolation', (event) => \
            window.violations.push(event.effectiveDirective)); \
         const image = document.createElement('div'); image.innerHTML = arguments[0]; document.body.append(image);",
        json!([TEXTS[0]]),
    );
    page.until(
        "the handler is blocked",
        "return window.violations.includes('script-src-attr') || window.violations.includes('script-src')",
    );
    assert_eq!(page.browser.run("return window.ran ?? null", json!([])), Value::Null);
}

#[test]
fn hostile_addresses_of_views_are_ignored() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    for view in ["__proto__", "constructor", "<img>", "connections/<script>", "%E0%A4%A"] {
        page.browser.open(&format!("{}#0/{view}", page.url));
        page.browser.reload();
        page.wait_for_live();
    }
    page.assert_clean();
}
