//! The focus stays where it is while the page changes.

use serde_json::json;

use super::page::Page;
use super::server::{Options, Server};

#[test]
fn a_row_keeps_the_focus_while_the_order_changes() {
    let server = Server::start(Options::default());
    let names: Vec<_> = (0..30).map(|number| format!("peer {number:02}")).collect();
    let mut peers: Vec<_> = names.iter().map(|name| server.peer(name)).collect();
    let page = Page::open(&server, "connections");
    page.button("Packets");
    page.browser.run("window.lost = 0; addEventListener('focusout', () => { window.lost += 1; })", json!([]));
    // The row with the focus moves up and down.
    let held = "return document.activeElement.closest('tr')?.cells[1].innerText === arguments[0] && window.lost === 0";
    let mut packets = vec![1; peers.len()];
    for round in 0..6 {
        let order: Vec<_> = (0..peers.len()).map(|at| (at * 7 + round * 11) % peers.len()).collect();
        let most = packets.iter().max().expect("peers") + peers.len();
        for (at, peer) in order.iter().enumerate() {
            while packets[*peer] < most - at {
                peers[*peer].ask("hello");
                packets[*peer] += 1;
            }
        }
        let expected: Vec<_> = order.iter().map(|at| names[*at].as_str()).collect();
        page.until_column(1, &expected);
        if round == 0 {
            let focus = "[...document.querySelectorAll('tbody tr')].find((row) => \
                 row.cells[1].innerText === 'peer 15').querySelector('button').focus(); window.lost = 0";
            page.browser.run(focus, json!([]));
        }
        page.until_given("the row has the focus", held, json!(["peer 15"]));
    }
    page.browser.press("\u{E015}");
    page.until("the arrow keys lead on", "return document.activeElement.closest('tr') !== null && window.lost === 1");
    page.assert_clean();
}

#[test]
fn another_view_takes_the_focus_if_it_is_lost() {
    let server = Server::start(Options::default());
    let mut ann = server.peer("ann");
    ann.ask("join lobby");
    ann.ask("name queen");
    let page = Page::open(&server, "names");
    page.button("queen");
    let on_details = "return document.activeElement.getAttribute('aria-label') === 'Connection 1'";
    page.until("the details have the focus", on_details);
    page.show("topics");
    page.button("lobby");
    page.until_text("Topic lobby");
    page.click("//section[contains(@class, 'details')]//button[. = '1']");
    page.until("the details have the focus", on_details);
    page.browser.run("history.back()", json!([]));
    page.until_text("Filter by name");
    page.until("the content has the focus", "return document.activeElement.id === 'main'");
    page.assert_clean();
}
