//! [`ColdState`], the state that most connections never need.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Sleep;

use super::close::Linger;
use super::context::Held;
use super::decode_error::DecodeErrors;
use super::detach::Then;
use super::packet_rate::PacketBucket;
use super::wait::PendingWait;
use super::{Closed, Connection, Protocol, Trigger};
use crate::handshake::{Handshake, HandshakeFuture};

/// State that is allocated when it is first needed. Times are in milliseconds of the registry's clock, 0 for none.
pub(super) struct ColdState<P: Protocol> {
    /// Futures to wait for, each with the trigger of the callback that returned it. The first one is in progress.
    pub(super) waits: VecDeque<(Trigger, PendingWait<P>)>,
    /// A future was added that has not been polled.
    pub(super) wait_added: bool,
    /// When the wait in progress was first found pending.
    pub(super) wait_since: u64,
    /// When the peer was found to have shut down its sending side.
    pub(super) peer_left: u64,
    /// Since when the stream cannot tell, during a wait, whether the peer has left.
    pub(super) blind_since: u64,
    /// Since when the peer of a passive connection is known to have left.
    pub(super) passive_since: u64,
    pub(super) decode_errors: DecodeErrors,
    /// Reading ahead found the end of a TLS stream without `close_notify`.
    pub(super) truncated: bool,
    /// Limits a wait of `init`.
    pub(super) init_limit: Option<Pin<Box<Sleep>>>,
    /// Why the connection is closing.
    pub(super) why: Option<Closed>,
    /// The latest end of a connection that an operator closes.
    pub(super) close_by: u64,
    pub(super) linger: Linger,
    /// The handshake in progress: before `ack`, or of an upgrade.
    pub(super) handshake: Option<HandshakeFuture>,
    /// An upgrade that starts once the bytes queued before it are sent.
    pub(super) upgrade: Option<Arc<dyn Handshake>>,
    /// Receives the stream, once everything is sent and no handshake is in progress.
    pub(super) detach: Option<Then>,
    /// Allocated with the first packet of a connection with a packet rate.
    pub(super) packet_bucket: Option<Box<PacketBucket>>,
    /// Set while the context polls its futures, if the connection no longer handles packets and messages.
    pub(super) held: Option<Held>,
    /// Set if a test steps the connection.
    #[cfg(feature = "testing")]
    pub(super) record: Option<std::rc::Rc<super::stepping::Record<P>>>,
}

impl<P: Protocol> Connection<P> {
    pub(super) fn cold(&mut self) -> &mut ColdState<P> {
        self.cold.get_or_insert_with(|| {
            Box::new(ColdState {
                waits: VecDeque::new(),
                wait_added: false,
                wait_since: 0,
                peer_left: 0,
                blind_since: 0,
                passive_since: 0,
                decode_errors: DecodeErrors::default(),
                truncated: false,
                init_limit: None,
                why: None,
                close_by: 0,
                linger: Linger::default(),
                handshake: None,
                upgrade: None,
                detach: None,
                packet_bucket: None,
                held: None,
                #[cfg(feature = "testing")]
                record: None,
            })
        })
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use bytes::Bytes;

    use super::super::{Conn, ConnectionTask, Next};
    use super::*;

    struct Stateless;

    impl Protocol for Stateless {
        type Codec = crate::Framing;
        type Reply = Bytes;
        type User = ();

        fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
            Next::Continue
        }
    }

    /// tokio's task grows in steps of 128 bytes: a protocol with more state than this costs one step more. (The limit is 24
    /// bytes without tokio's feature `rt-multi-thread`.)
    #[test]
    fn a_task_of_384_bytes_has_room_for_16_of_the_protocol() {
        const OF_TOKIO: usize = 104;
        assert!(OF_TOKIO + size_of::<ConnectionTask<Stateless>>() + 16 <= 384);
    }
}
