//! The charts: gaps, and values by the keyboard.

use serde_json::json;

use super::page::Page;
use super::server::{Options, Server};

const LEFT: &str = "\u{E012}";

#[test]
fn what_was_not_measured_is_a_gap() {
    let server = Server::start(Options::default());
    let page = Page::open(&server, "overview");
    let answer = "const now = Date.now(), of = (value) => [value, value, null, value, null, value, value]; \
         const history = { minutes: 1, step: 1, times_ms: [90, 50, 40, 30, 20, 10, 0].map((age) => now - age * 1000) }; \
         for (const name of ['connections', 'unsent', 'handshakes', 'held', 'accepted', 'packets', 'bytes_in', \
             'bytes_out', 'dropped']) history[name] = of(3); \
         const send = window.fetch; \
         window.fetch = (path, options) => path.includes('/history') \
             ? Promise.resolve(Response.json({ ...history, refused: { denied: of(1) }, closed: { peer: of(2) } })) \
             : send(path, options);";
    page.browser.run(answer, json!([]));
    let paths = "const one = (path) => path.getAttribute('d'); \
         const lines = [...document.querySelectorAll('.areas .line')].map(one); \
         const areas = [...document.querySelectorAll('.areas .area')].map(one); \
         const count = (text, letter) => text.split(letter).length - 1; \
         return lines.length === 11 && lines.every((line) => count(line, 'M') === 3 && count(line, 'h1') === 1) \
             && areas.length > 5 && areas.every((area) => count(area, 'M') === 3 && count(area, 'Z') === 3)";
    page.until("the lines have gaps", paths);
    // What is older than the period is cut off at the axis.
    let clips = "return [...document.querySelectorAll('.areas')].every((areas) => { \
             const [, id] = areas.getAttribute('clip-path').match(/#(.*)\\)/); \
             const frame = document.getElementById(id).firstElementChild.getBBox(); \
             return areas.getBBox().x < 0 && frame.x === 58 && frame.width > 100; })";
    page.until("the lines end at the axis", clips);
    // A gap has no value.
    page.browser.run("document.querySelectorAll('.plot')[1].focus()", json!([]));
    for _ in 0..3 {
        page.browser.press(LEFT);
    }
    page.until("the gap is read", "return /not known$/.test(document.getElementById('said').textContent)");
    page.assert_clean();
}

#[test]
fn the_arrow_keys_read_the_values_of_a_chart() {
    let server = Server::start(Options::default());
    let _ann = server.peer("ann");
    let page = Page::open(&server, "overview");
    page.until("there are values", "return document.querySelector('.chart-latest').textContent === '1'");
    let label = "return document.querySelector('.plot').getAttribute('aria-label')";
    let before = page.browser.run(label, json!([]));
    page.browser.run("document.querySelector('.plot').focus()", json!([]));
    page.browser.press(LEFT);
    page.until(
        "the value is read",
        "return /^Connections at \\d\\d:\\d\\d:\\d\\d: connections 1$/.test(document.getElementById('said').textContent)",
    );
    assert_eq!(page.browser.run(label, json!([])), before, "the name of the chart stays");
    page.assert_clean();
}
