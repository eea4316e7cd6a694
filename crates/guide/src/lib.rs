//! Runs the code of the guide: every page in `src/guide` of the library is included here, once, as doc tests.
//!
//! The pages are shown by the module `guide` of the library, whose `doctest` build leaves them out: so the packages that
//! only the guide needs are not built for the library's own tests. [`run`] and [`Client`] keep the hidden lines of the pages
//! short.

mod client;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

pub use client::Client;

/// Runs a page's code in an actix system, for at most 30 seconds.
///
/// # Panics
/// If it fails, or takes longer.
pub fn run(code: impl Future<Output = Result<(), Box<dyn Error>>>) {
    let code = actix_rt::System::new().block_on(async { tokio::time::timeout(Duration::from_secs(30), code).await });
    code.expect("the code ends within 30 s").expect("the code returns Ok");
}

/// Includes a page: its code becomes doc tests that are named after it.
#[cfg(doctest)]
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = include_str!(concat!("../../../src/guide/", $file))]
        pub mod $name {}
    };
}

#[cfg(doctest)]
pub mod pages {
    page!(index, "index.md");
    page!(handlers, "handlers.md");
    page!(life, "life.md");
    page!(messages, "messages.md");
    page!(sharing, "sharing.md");
    page!(testing, "testing.md");
    page!(with_tls, "with_tls.md");
    page!(load_balancer, "load_balancer.md");
    page!(machines, "machines.md");
    page!(observing, "observing.md");
    page!(from_rust, "from_rust.md");
    page!(from_erlang, "from_erlang.md");
    page!(panic_abort, "panic_abort.md");
    page!(platforms, "platforms.md");
    page!(timeouts, "timeouts.md");
    page!(versions, "versions.md");
    page!(with_actix_web, "with_actix_web.md");
    page!(deploying, "deploying.md");
    page!(tuning, "tuning.md");
}
