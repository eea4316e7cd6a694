//! Timers with short periods.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use actix_acceptor::{Framing, Next};
use bytes::Bytes;
use support::*;
use tokio::time::{sleep, Instant};

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

/// The first message is more than half a period late, and less than 5 ms: the next one is due a whole period later.
#[test]
fn a_short_period_is_moved_by_half_a_period() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(move |call, conn| match call {
            Call::Ack => {
                conn.every(ms(4), Bytes::from_static(b"beat"));
                conn.wait(sleep(ms(7)), |(), _, _| Next::Continue)
            }
            call => protocol_default(call),
        });
        let (_pool, script) = in_memory(builder.framing(Framing::raw())).await;
        let _peer = script.connect();
        let beat = Call::User(Bytes::from_static(b"beat"));
        let (first, second) = (callbacks.until(&beat).await, callbacks.until(&beat).await);
        assert!(second - first >= ms(4), "{:?}", second - first);
    });
}
