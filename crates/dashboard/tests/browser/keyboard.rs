//! The page without a mouse.

use serde_json::{json, Value};

use super::page::Page;
use super::server::{Options, Server};

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const ESCAPE: &str = "\u{E00C}";
const DOWN: &str = "\u{E015}";

/// Presses the tab key until an element with this text has the focus. Each stop is visible.
fn tab_to(page: &Page, text: &str) {
    for _ in 0..80 {
        page.browser.press(TAB);
        let script = "const node = document.activeElement, style = getComputedStyle(node); \
             return [node.innerText || node.getAttribute('aria-label') || '', node.tagName, \
                 style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1]";
        let focus = page.browser.run(script, json!([]));
        assert_eq!(focus[2], Value::Bool(true), "the focus is not visible: {focus}");
        if focus[0].as_str().is_some_and(|name| name.trim() == text) {
            return;
        }
    }
    panic!("the tab key does not lead to {text:?}");
}

#[test]
fn every_step_works_from_the_keyboard() {
    let server = Server::start(Options::default());
    let (_ann, mut bob) = (server.peer("ann"), server.peer("bob"));
    let page = Page::open(&server, "overview");
    tab_to(&page, "Skip to content");
    page.browser.press(ENTER);
    page.until("the content has the focus", "return document.activeElement.id === 'main'");
    tab_to(&page, "Suspend\u{2026}");
    tab_to(&page, "Connections");
    page.browser.press(ENTER);
    page.until_column(1, &["ann", "bob"]);
    tab_to(&page, "Label");
    page.browser.press(ENTER);
    page.browser.press(ENTER);
    page.until_column(1, &["bob", "ann"]);
    tab_to(&page, "2");
    page.browser.press(DOWN);
    page.until("the next row has the focus", "return document.activeElement.innerText === '1'");
    page.browser.press(ENTER);
    page.until(
        "the details have the focus",
        "return document.activeElement.getAttribute('aria-label') === 'Connection 1'",
    );
    page.browser.press(ESCAPE);
    page.until("the row has the focus", "return document.activeElement.innerText === '1'");

    page.details("bob");
    tab_to(&page, "Kill\u{2026}");
    page.browser.press(ENTER);
    page.until("the dialog is open", "return document.querySelector('dialog').contains(document.activeElement)");
    page.browser.press(ENTER);
    page.until_closed();
    page.until("return cancels what is dangerous", "return document.activeElement.innerText === 'Kill\u{2026}'");
    page.browser.press(ENTER);
    page.until("the dialog is open", "return document.querySelector('dialog').contains(document.activeElement)");
    tab_to(&page, "Kill");
    page.browser.press(ENTER);
    assert!(bob.has_ended());
    page.assert_clean();
}
