//! The shortest period of a timer.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use actix_acceptor::{Framing, Next};
use bytes::Bytes;
use support::*;
use tokio::time::Instant;

#[test]
fn a_period_of_zero_counts_as_one_millisecond() {
    paused(async {
        let beats = AtomicU32::new(0);
        let (builder, _callbacks) = Probe::pool(move |call, conn| match call {
            Call::Ack => {
                conn.every(Duration::ZERO, Bytes::from_static(b"beat"));
                Next::Continue
            }
            Call::User(_) if beats.fetch_add(1, Relaxed) == 49 => Next::SendAndStop("fifty".into()),
            call => protocol_default(call),
        });
        let (_pool, script) = in_memory(builder.framing(Framing::raw())).await;
        let began = Instant::now();
        let mut peer = script.connect();
        assert_eq!(peer.read_to_end().await, b"fifty");
        assert!(began.elapsed() >= ms(50), "{:?}", began.elapsed());
    });
}
