//! The test kit, feature `testing`.

mod client;
mod failures;
mod framed;
mod harness;
mod simulation;
mod stepper;

use std::future::Future;

use actix_acceptor::testing::Harness;
use actix_acceptor::{handlers::ProtocolService, AcceptorPool, Builder, Connection, Framing};
use support::Echo;

fn echoes() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines())
}

async fn echo_harness() -> Harness<Connection<Echo>> {
    Harness::start(echoes()).await
}

/// The message of a test that fails, without its first line and column numbers.
async fn failure<F: Future + 'static>(test: F) -> String {
    let Err(failed) = actix_rt::spawn(async { drop(test.await) }).await else { panic!("the test did not fail") };
    let panic = failed.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap();
    let (caller, message) = text.split_once(": ").unwrap();
    assert!(caller.contains("tests/it/testing/"), "{text:?} does not name the line of the test");
    message.to_owned()
}
