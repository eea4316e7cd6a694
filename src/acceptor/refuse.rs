//! How a peer is turned away.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::limits::AtLimit;
use crate::net::Stream;

/// How long a refusal_message may take to reach the peer.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many farewells may be under way on an arbiter; past that peers are closed without one.
const FAREWELLS: usize = 64;

thread_local! {
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

struct UnderWay;

impl UnderWay {
    fn begin() -> Option<Self> {
        let count = UNDER_WAY.get();
        (count < FAREWELLS).then(|| {
            UNDER_WAY.set(count + 1);
            UnderWay
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = UNDER_WAY.try_with(|count| count.set(count.get() - 1));
    }
}

/// Closes or resets a peer that is not served.
pub(super) fn turn_away(stream: Stream, how: AtLimit, refusal_message: Bytes) {
    if how == AtLimit::Reset {
        return stream.reset();
    }
    let Some(under_way) = (!refusal_message.is_empty()).then(UnderWay::begin).flatten() else { return drop(stream) };
    // At once: the arbiter may be about to go.
    let rest = refusal_message.slice(stream.send_now(&refusal_message)..);
    actix_rt::spawn(async move {
        let _under_way = under_way;
        let _ = tokio::time::timeout(FAREWELL, say_farewell(stream, rest)).await;
    });
}

/// What the peer has sent is read and forgotten: closing on unread input would be a reset, which can destroy the refusal_message.
async fn say_farewell(mut stream: Stream, rest: Bytes) -> std::io::Result<()> {
    stream.write_all(&rest).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
