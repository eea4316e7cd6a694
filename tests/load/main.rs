//! Tests with thousands of connections. A binary of its own: they raise the limit of descriptors of their process.

#![allow(clippy::unwrap_used)]

mod churn;
mod spread;
