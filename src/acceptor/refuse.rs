//! Closes a refused peer, after the refusal message if there is one.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::AtLimit;
use crate::net::Stream;

/// How long the message may take to reach the peer.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);
/// How many messages may be in transit on an arbiter. Further peers are closed without one.
const MAX_MESSAGES: usize = 64;

thread_local! {
    static IN_TRANSIT: Cell<usize> = const { Cell::new(0) };
}

/// Counts one message in transit.
struct MessageSlot;

impl MessageSlot {
    fn acquire() -> Option<Self> {
        let count = IN_TRANSIT.get();
        (count < MAX_MESSAGES).then(|| {
            IN_TRANSIT.set(count + 1);
            MessageSlot
        })
    }
}

impl Drop for MessageSlot {
    fn drop(&mut self) {
        let _ = IN_TRANSIT.try_with(|count| count.set(count.get() - 1));
    }
}

/// Closes or resets a refused peer.
pub(super) fn close_refused(stream: Stream, how: AtLimit, message: Bytes) {
    if how == AtLimit::Reset {
        return stream.reset();
    }
    let Some(slot) = (!message.is_empty()).then(MessageSlot::acquire).flatten() else { return drop(stream) };
    // Sent now, because the arbiter may be about to stop.
    let rest = message.slice(stream.send_now(&message)..);
    actix_rt::spawn(async move {
        let _slot = slot;
        let _ = tokio::time::timeout(MESSAGE_LIMIT, send_and_close(stream, rest)).await;
    });
}

/// Sends the rest of the message, then discards the peer's input until it closes. Closing on unread input would reset the
/// connection, which can destroy the message.
async fn send_and_close(mut stream: Stream, rest: Bytes) -> std::io::Result<()> {
    stream.write_all(&rest).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
