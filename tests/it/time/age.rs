//! The maximum age, on a paused clock over a transport in memory.

use actix_acceptor::{telemetry::CloseReason, Framing, Next};
use bytes::Bytes;
use support::*;
use tokio::io::AsyncWriteExt;

/// More than the transport in memory holds.
const FLOOD: usize = 1 << 20;

#[test]
fn the_maximum_age_bounds_a_peer_that_does_not_read() {
    for stops in [false, true] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(move |call, _| match call {
                Call::Packet(_) if stops => Next::SendAndStop(Bytes::from(vec![b'x'; FLOOD])),
                Call::Packet(_) => Next::Send(Bytes::from(vec![b'x'; FLOOD])),
                other => protocol_default(other),
            });
            let builder = builder.framing(Framing::raw()).max_age(ms(500)).send_timeout(ms(60_000));
            let (_pool, script_handle) = in_memory(builder).await;
            let mut peer = script_handle.connect();
            let began = callbacks.until(&Call::Ack).await;
            peer.send("more than you read").await;
            let at = loop {
                if let (Call::Closed(reason, _), at) = callbacks.next_ever().await {
                    assert_eq!(reason, CloseReason::MaxAge);
                    break at;
                }
            };
            // Half a second for what is queued.
            assert_on_time(began, at, ms(1_000));
        });
    }
}

/// A peer that goes on sending keeps a closing connection beyond its age, with nothing left to send.
#[test]
fn a_close_that_has_sent_everything_keeps_its_reason() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, _| match call {
            Call::Packet(_) => Next::SendAndStop(Bytes::from_static(b"bye")),
            other => protocol_default(other),
        });
        let (_pool, script_handle) = in_memory(builder.framing(Framing::raw()).max_age(ms(500))).await;
        let mut peer = script_handle.connect();
        let began = callbacks.until(&Call::Ack).await;
        elapse(ms(400)).await;
        // More than one read takes in, so that the connection closes with input left.
        let mut input = &[b'x'; 200_000][..];
        while peer.0.write_all(input).await.is_ok() {
            input = b"x";
            elapse(ms(50)).await;
        }
        let (reason, _) = callbacks.closed().await;
        assert_eq!(reason, CloseReason::Local);
        assert!(began.elapsed() >= ms(1_000), "after {:?}", began.elapsed());
    });
}
