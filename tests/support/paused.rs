//! A paused clock: it jumps to the next timer when there is no work.

use std::future::Future;
use std::time::Duration;

use actix::System;
use actix_acceptor::{handlers::Service, Builder, Pool};
use tokio::time::Instant;

use super::{ms, ScriptHandle, ScriptedTransport};

/// Runs a test on a paused clock. Only for pools [`in_memory`]: with real sockets the clock would jump past the limits.
pub fn paused<F: Future<Output = ()> + 'static>(test: F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    System::with_tokio_rt(runtime).block_on(test);
}

/// Lets this much time of a paused clock pass.
pub async fn elapse(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A pool on the current arbiter whose peers come by its director alone.
pub async fn in_memory<D: Service>(builder: Builder<D>) -> (Pool<D::Actor>, ScriptHandle) {
    let (transport, script_handle) = ScriptedTransport::in_memory();
    (builder.on_current_arbiter().listen(transport).await.unwrap(), script_handle)
}

/// Never early; late by a tenth or 10 ms, whichever is more.
#[track_caller]
pub fn assert_on_time(from: Instant, at: Instant, limit: Duration) {
    let (took, late) = (at - from, (limit / 10).max(ms(10)));
    assert!(took >= limit, "early: {took:?} instead of {limit:?}");
    assert!(took <= limit + late, "late: {took:?} instead of {limit:?}");
}
