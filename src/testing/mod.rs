//! Tools for tests of a server: without ports, on a paused clock.
//!
//! A [`Harness`] starts a pool in memory, on the current arbiter, and pauses the clock. Its [`Client`]s send and expect bytes, or the
//! items of a codec ([`FramedClient`]). A [`Stepper`] runs one connection of the pool step by step, and shows what each callback
//! returned.
//!
//! Enable the feature `testing` in the `[dev-dependencies]` only: it enables the feature `test-util` of tokio.
//!
//! ```toml
//! [dev-dependencies]
//! actix-acceptor = { version = "0.1", features = ["testing"] }
//! ```
//!
//! | to | use |
//! |---|---|
//! | start a pool | [`Harness::start`], [`Harness::start_with`] |
//! | connect, with an address that rules and limits see | [`Harness::connect`], [`Harness::connect_from`] |
//! | send and receive | [`Client::say`], [`Client::expect`], [`Client::receive`], [`Client::framed`] |
//! | expect that nothing arrives | [`Client::silence`] |
//! | expect the end of a connection | [`Client::end`], [`Client::end_by_reset`] |
//! | leave as a peer | [`Client::finish`] (FIN), [`Client::reset`] (RST), `drop` |
//! | let time pass | [`Harness::advance`] |
//! | make `accept` fail | [`Harness::fail_accept`] |
//! | call the callbacks of a [`Protocol`](crate::Protocol) one by one | [`Harness::stepper`] |
//! | end the pool, and check that nothing is left | [`Harness::end`] |
//!
//! # Time
//! The clock is that of the test's thread, so no part of the server may use timers on other threads. Closures
//! of [`Conn::blocking`](crate::Conn::blocking) and of tokio's `spawn_blocking` do run on other threads, and the clock waits for
//! them. It does not wait for other threads, such as arbiters or servers of the program, nor for sockets: it may jump ahead while
//! they work.

mod client;
mod client_io;
mod clock;
mod framed;
mod harness;
mod link;
mod report;
mod step;
mod stepper;

pub use client::Client;
pub use framed::FramedClient;
pub use harness::Harness;
pub use step::Step;
pub use stepper::Stepper;

pub use crate::connection::{Callback, NextKind};

/// How often the test lets other tasks run. A task that is woken by another one runs in the next round.
const ROUNDS: usize = 100;

/// Runs all tasks of this thread that are ready.
async fn settle() {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
}
