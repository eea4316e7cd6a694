#![doc = include_str!("index.md")]

/// Shows a page. Its links are resolved in the crate's root, so that they are as short as in a program.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = include_str!($file)]
        pub mod $name {
            #[allow(unused_imports)]
            use crate::*;
        }
    };
}

#[allow(unused_imports)]
use crate::*;

page!(handlers, "handlers.md");
