//! Closes a refused peer, after the refusal message if there is one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::{AtLimit, RefuseWith, Settings};
use crate::limits::Limits;
use crate::net::Stream;
use crate::telemetry::RefusalReason;

/// How long the message may take to reach the peer.
const MESSAGE_LIMIT: Duration = Duration::from_secs(1);

/// How a refused peer is closed.
pub(super) fn policy(settings: &Settings, reason: RefusalReason) -> RefuseWith {
    match (reason, settings.at_limit) {
        (RefusalReason::Limit, AtLimit::Reset) => RefuseWith::Reset,
        (RefusalReason::Limit, _) => RefuseWith::Close,
        _ => settings.refuse_with,
    }
}

/// Closes or resets a refused peer. The message is not sent if too many refused peers are already kept open for theirs.
pub(super) fn close_refused(stream: Stream, how: RefuseWith, message: Bytes, limits: &Arc<Limits>) {
    if how == RefuseWith::Reset {
        return stream.reset_on_drop();
    }
    let Some(permit) = (!message.is_empty()).then(|| limits.try_linger()).flatten() else { return drop(stream) };
    // Sent now, because the arbiter may be about to stop.
    let rest = message.slice(stream.send_now(&message)..);
    actix_rt::spawn(async move {
        let _permit = permit;
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
