//! The login form.

use serde_json::json;

use super::page::Page;
use super::server::{Options, Server};
use super::webdriver::Browser;

const TOKEN: &str = "0123456789abcdef-token";

#[test]
fn a_viewer_signs_in_and_out() {
    let server = Server::start(Options { token: Some(TOKEN), ..Options::default() });
    let page = Page { browser: Browser::start(1400, 900), url: server.url() };
    page.browser.open(&format!("{}#0/connections", page.url));
    page.until(
        "the form is shown",
        "return location.pathname.endsWith('/login') && document.activeElement.id === 'token'",
    );
    page.fill("Token", "wrong");
    page.button("Sign in");
    page.until_text("The token is wrong.");
    page.fill("Token", TOKEN);
    page.button("Sign in");
    page.wait_for_live();
    let cookie = page.browser.run("return document.cookie", json!([]));
    assert_eq!(cookie, "", "scripts cannot read the session");
    page.button("Sign out");
    page.until("the form is shown", "return location.pathname.endsWith('/login')");
    page.browser.open(&page.url);
    page.until("the session has ended", "return location.pathname.endsWith('/login')");
    page.assert_clean();
}

#[test]
fn a_session_that_has_ended_leads_to_the_form() {
    let server = Server::start(Options { token: Some(TOKEN), ..Options::default() });
    let page = Page { browser: Browser::start(1400, 900), url: server.url() };
    page.browser.open(&page.url);
    page.fill("Token", TOKEN);
    page.button("Sign in");
    page.wait_for_live();
    page.browser.open(&format!("{}#0/topics", page.url));
    // The keys of a session are those of one start of the program.
    let (port, options) = (server.port, Options { token: Some(TOKEN), ..Options::default() });
    drop(server);
    page.until_text("The connection to the server is lost");
    let _server = Server::start(Options { port, ..options });
    page.until("the form is shown", "return location.pathname.endsWith('/login')");
    page.fill("Token", TOKEN);
    page.button("Sign in");
    page.wait_for_live();
    page.until("the view is shown again", "return location.hash === '#0/topics'");
}

#[test]
fn the_form_redirects_if_there_is_a_session() {
    let server = Server::start(Options { token: Some(TOKEN), ..Options::default() });
    let page = Page { browser: Browser::start(1400, 900), url: server.url() };
    page.browser.open(&page.url);
    page.fill("Token", TOKEN);
    page.button("Sign in");
    page.wait_for_live();
    // A link on another site, to which the cookie is not sent, leads here.
    page.browser.open(&format!("{}login#0/topics", page.url));
    page.wait_for_live();
    page.until("the view is shown", "return location.hash === '#0/topics'");
    page.assert_clean();
}
