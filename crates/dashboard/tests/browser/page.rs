//! The page as a person uses it: buttons and fields by their names.

use serde_json::{json, Value};

use super::server::Server;
use super::webdriver::{eventually, Browser, Element};

/// A browser with the page of a server.
pub(crate) struct Page {
    pub(crate) browser: Browser,
    pub(crate) url: String,
}

/// A string of XPath, which has no escapes.
fn quoted(text: &str) -> String {
    let parts = text.split('"').map(|part| format!("\"{part}\"")).collect::<Vec<_>>();
    format!("concat({}, \"\")", parts.join(", '\"', "))
}

impl Page {
    /// Opens the page at a view, such as `connections`, in a window of 1,400 px.
    pub(crate) fn open(server: &Server, view: &str) -> Self {
        let page = Page { browser: Browser::start(1400, 900), url: server.url() };
        page.show(view);
        page
    }

    /// Opens a view, and waits until it shows numbers.
    pub(crate) fn show(&self, view: &str) {
        self.browser.open(&format!("{}#0/{view}", self.url));
        self.wait_for_live();
    }

    pub(crate) fn wait_for_live(&self) {
        self.until(
            "the page is live",
            "return document.getElementById('live')?.dataset.live === 'true' \
            && document.getElementById('status').textContent !== ''",
        );
    }

    /// Waits until a script returns true.
    pub(crate) fn until(&self, what: &str, script: &str) {
        self.until_given(what, script, json!([]));
    }

    pub(crate) fn until_given(&self, what: &str, script: &str, arguments: Value) {
        eventually(what, || (self.browser.try_run(script, arguments.clone()).ok()? == Value::Bool(true)).then_some(()));
    }

    /// Waits until the page shows a text.
    pub(crate) fn until_text(&self, text: &str) {
        self.until_given(text, "return document.body.innerText.includes(arguments[0])", json!([text]));
    }

    /// Waits until the page does not show a text.
    pub(crate) fn until_no_text(&self, text: &str) {
        self.until_given(text, "return !document.body.innerText.includes(arguments[0])", json!([text]));
    }

    pub(crate) fn find(&self, xpath: &str) -> Element {
        eventually(xpath, || self.browser.find(xpath))
    }

    /// Clicks, again if the element was replaced or is still covered.
    pub(crate) fn click(&self, xpath: &str) {
        eventually(xpath, || self.browser.try_click(&self.browser.find(xpath)?).ok());
    }

    /// Clicks the button of this name, in the dialog if one is open.
    pub(crate) fn button(&self, name: &str) {
        let scope = if self.has_dialog() { "//dialog" } else { "" };
        self.click(&format!("{scope}//button[normalize-space(.) = {}]", quoted(name)));
    }

    pub(crate) fn has_button(&self, name: &str) -> bool {
        self.browser.find(&format!("//button[normalize-space(.) = {}]", quoted(name))).is_some()
    }

    pub(crate) fn has_dialog(&self) -> bool {
        self.browser.run("return document.querySelector('dialog[open]') !== null", json!([])) == Value::Bool(true)
    }

    pub(crate) fn until_closed(&self) {
        self.until("the dialog closes", "return document.querySelector('dialog[open]') === null");
    }

    /// The field with this label.
    fn field_path(label: &str) -> String {
        format!("//*[@id = //label[starts-with(normalize-space(.), {})]/@for]", quoted(label))
    }

    pub(crate) fn fill(&self, label: &str, text: &str) {
        let field = self.find(&Self::field_path(label));
        self.browser.fill(&field, text);
    }

    pub(crate) fn choose(&self, label: &str, option: &str) {
        let field = Self::field_path(label);
        self.click(&format!("{field}//option[normalize-space(.) = {}]", quoted(option)));
    }

    pub(crate) fn check(&self, label: &str) {
        self.click(&Self::field_path(label));
    }

    /// Opens the details of the connection with this label, from the table.
    pub(crate) fn details(&self, label: &str) {
        self.click(&format!("//tr[td//bdi[. = {}]]//button", quoted(label)));
        self.find("//section[contains(@class, 'details')]");
    }

    /// The texts of a column of the table, from the top.
    pub(crate) fn column(&self, number: usize) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll('.table tbody tr')].map((row) => row.cells[arguments[0]].innerText)";
        serde_json::from_value(self.browser.run(script, json!([number]))).expect("texts")
    }

    pub(crate) fn until_column(&self, number: usize, expected: &[&str]) {
        eventually(&format!("column {number} is {expected:?}"), || (self.column(number) == expected).then_some(()));
    }

    /// Nothing was blocked, failed or written to the console.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.browser.console(), Vec::<String>::new());
    }
}
