//! Where a connection is in its life, and what keeps it from taking in packets and messages.

use bitflags::bitflags;

/// The phases of a connection, in order. Each is entered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Accepted; `init` has not been called.
    New,
    /// Between `init` and `ack`, with or without a handshake.
    Handshaking,
    /// From `ack` on.
    Ready,
    /// Nothing is taken in any more; queued bytes are being sent.
    Closing,
    /// `closed` has been called.
    Closed,
}

bitflags! {
    /// Why a connection takes in no packets and no messages. It does when this is empty.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Paused: u8 {
        /// The phase is not `Ready`.
        const NOT_READY = 1;
        /// A callback has asked to wait for a future.
        const WAITING = 1 << 1;
        /// More bytes are queued than the high-water mark, and not yet as few as the low one.
        const ABOVE_MARK = 1 << 2;
        /// A handshake on the live connection (STARTTLS) is under way.
        const UPGRADING = 1 << 3;
        /// A file is being sent.
        const SENDING_FILE = 1 << 4;
    }
}

bitflags! {
    /// What a connection keeps track of between turns.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Flags: u8 {
        /// The mailbox may hold messages. It is polled only then.
        const MAIL = 1;
        /// Bytes were read that the codec has not seen.
        const UNDECODED = 1 << 1;
        /// The peer has shut its sending side.
        const EOF = 1 << 2;
        /// `half_closed` has been called.
        const HALF_CLOSED = 1 << 3;
        /// The stream (TLS) still holds bytes that were written to it.
        const UNFLUSHED = 1 << 4;
        /// A stream was added by a callback and not polled yet.
        const STREAM_ADDED = 1 << 5;
        /// The pool has asked the connection to shut down.
        const DRAINING = 1 << 6;
    }
}
