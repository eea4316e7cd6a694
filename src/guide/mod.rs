#![doc = include_str!("index.md")]

/// Shows a page. Links on a page are resolved here, so that they are as short as in a program. A page hides an item of the
/// crate's root with the same name: write `crate::` before that.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = include_str!($file)]
        pub mod $name {}
    };
}

#[allow(unused_imports)]
use crate::*;

page!(handlers, "handlers.md");
page!(life, "life.md");
page!(messages, "messages.md");
page!(sharing, "sharing.md");
page!(timeouts, "timeouts.md");
page!(testing, "testing.md");
page!(with_tls, "with_tls.md");
page!(load_balancer, "load_balancer.md");
page!(machines, "machines.md");
page!(versions, "versions.md");
page!(with_actix_web, "with_actix_web.md");
page!(deploying, "deploying.md");
page!(tuning, "tuning.md");
page!(observing, "observing.md");
page!(from_rust, "from_rust.md");
page!(from_erlang, "from_erlang.md");
page!(panic_abort, "panic_abort.md");
page!(platforms, "platforms.md");
