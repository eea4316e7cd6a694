//! The page with as many connections as a server may have.

use serde_json::json;

use super::page::Page;
use super::server::{Options, Server};

const CROWD: usize = 18_000;

/// How long an answer may take, also in a debug build on a busy machine.
const BOUND_MS: u64 = 5_000;

#[test]
fn a_table_of_18_000_connections_answers_at_once() {
    let server = Server::start(Options { crowd: CROWD, ..Options::default() });
    let _ann = server.peer("ann");
    let page = Page::open(&server, "connections");
    page.until_text("18,001 connections");
    // The time from a click until the page shows the result.
    let took = |what: &str, click: &str, is_shown: &str| {
        let script = format!(
            "const done = arguments[arguments.length - 1], began = performance.now(); {click}; \
             const look = () => (({is_shown}) ? done(performance.now() - began) : setTimeout(look, 5)); look();"
        );
        let took = page.browser.run_async(&script, json!([])).as_f64().unwrap_or(f64::MAX);
        println!("{what}: {took:.0} ms");
        assert!(took < BOUND_MS as f64, "{what}: {took} ms");
        let rows = page.browser.run("return document.querySelectorAll('#view tbody tr').length", json!([]));
        assert!(rows.as_u64() <= Some(100), "{what}: {rows} rows");
    };
    let button = |name: &str| {
        format!("[...document.querySelectorAll('#view button')].find((one) => one.textContent === '{name}').click()")
    };
    let page_is = |text: &str| format!("document.querySelector('.page-number').textContent === '{text}'");
    let first_is = |label: &str| format!("document.querySelector('#view tbody tr').cells[1].innerText === '{label}'");
    took("the next page", &button("Next"), &page_is("Page 2 of 361"));
    took("the last page", &button("Last"), &page_is("Page 361 of 361"));
    took("sorted by label", &button("Label"), &first_is("ann"));
    let filter = "const field = document.querySelector('#view input[type=search]'); field.value = 'guest 17999'; \
         field.dispatchEvent(new Event('input'))";
    took("filtered", filter, "document.querySelector('.pager').innerText.includes('1 of 18,001 connections')");
    let clear = "const field = document.querySelector('#view input[type=search]'); field.value = ''; \
         field.dispatchEvent(new Event('input'))";
    took("all", clear, "document.querySelectorAll('#view tbody tr').length === 50");
    took("sorted by idle", &button("Idle"), "document.querySelector('th[aria-sort]').innerText.startsWith('Idle')");
    // The table goes on with the updates, and no task of the page takes long.
    let watch = "window.tasks = []; new PerformanceObserver((list) => window.tasks.push(...list.getEntries() \
         .map((entry) => entry.duration))).observe({ type: 'longtask' }); window.changes = 0; \
         new MutationObserver(() => { window.changes += 1; }).observe(document.querySelector('#view tbody'), \
         { subtree: true, childList: true, characterData: true })";
    page.browser.run(watch, json!([]));
    page.until("the rows change", "return window.changes >= 5");
    let tasks = page.browser.run("return window.tasks", json!([]));
    println!("tasks above 50 ms: {tasks}");
    page.assert_clean();
}
