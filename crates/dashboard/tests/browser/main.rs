//! The page in headless Chromium: what it shows, what it does, and how it looks to keyboards and screen readers.
//!
//! Needs `chromium` and `chromedriver`, and axe-core from npm in `target/npm`: `.ci/run test_page` installs what is
//! missing.

mod accessibility;
mod actions;
mod charts;
mod crowd;
mod focus;
mod hostile;
mod keyboard;
mod layout;
mod page;
mod pictures;
mod reading;
mod reconnect;
mod server;
mod settings;
mod sign_in;
mod webdriver;
