//! The phase of a connection, and the reasons for which it handles neither packets nor messages.

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
    /// The connection has shut down its sending side: packets and messages are handled, replies are errors.
    Receiving,
    /// Packets and messages are no longer handled; queued bytes are being sent.
    Closing,
    /// `closed` has been called.
    Closed,
}

bitflags! {
    /// Why a connection handles no packets and, except with `SLOWED`, no messages. Empty if it does.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Paused: u8 {
        /// The phase is neither `Ready` nor `Receiving`.
        const NOT_READY = 1;
        /// The connection waits for a future that a callback returned.
        const WAITING = 1 << 1;
        /// More bytes than the high-water mark were queued, and the low-water mark has not been reached since; or replies are
        /// left in the outbox, which come before the next answers.
        const ABOVE_MARK = 1 << 2;
        /// A handshake on the live connection (STARTTLS) is in progress.
        const UPGRADING = 1 << 3;
        /// A file is being sent.
        const SENDING_FILE = 1 << 4;
        /// The peer has sent more packets than its rate allows. Messages are handled.
        const SLOWED = 1 << 5;
    }
}

bitflags! {
    /// The state of a connection between turns.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Flags: u16 {
        /// The mailbox may hold messages. It is polled only then.
        const MAIL = 1;
        /// Bytes were read that the codec has not seen.
        const UNDECODED = 1 << 1;
        /// The peer has shut down its sending side.
        const EOF = 1 << 2;
        /// `half_closed` has been called.
        const HALF_CLOSED = 1 << 3;
        /// A buffering stream (TLS) holds bytes that were written to it and not yet sent.
        const UNFLUSHED = 1 << 4;
        /// A callback has added a stream that has not been polled.
        const STREAM_ADDED = 1 << 5;
        /// The connection has a packet rate.
        const RATED = 1 << 6;
        /// The outbox may hold replies, or the write buffer bytes that came from it.
        const OUTBOX = 1 << 7;
        /// The pool has notified the connection that it shuts down.
        const DRAINING = 1 << 8;
        /// The sending side is to be shut down once everything is sent.
        const SHUTTING = 1 << 9;
        /// The sending side is shut down.
        const SHUT = 1 << 10;
    }
}
