//! How a connection ended, and what the log says about it.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::ConnectionGuard;
use crate::telemetry::{CloseReason, HandshakeFailure, OpenSpan, RefusalReason};

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The connection counts as closed.
    Closed { reason: CloseReason, detail: Option<String> },
    /// The connection counts as closed, for the reason [`CloseReason::Handshake`].
    HandshakeFailed { kind: HandshakeFailure, detail: String },
    /// The connection was refused because of the peer that its PROXY header names. It counts as refused, not as closed.
    Refused(RefusalReason),
}

impl ConnectionGuard {
    fn log_closed(&self, reason: CloseReason, detail: &Option<String>) {
        let state = self.state();
        let (id, peer, listener) = (state.id(), state.peer(), &**state.listener_name());
        let (bytes_in, bytes_out, name) = (state.bytes_in(), state.bytes_out(), reason.name());
        let label = state.label();
        let (detail, label) = (detail.as_deref(), label.as_deref());
        macro_rules! log {
            ($level:ident) => {
                $level!(%id, %peer, listener, label, bytes_in, bytes_out, reason = name, detail, "connection closed")
            };
        }
        // Ends that a peer can cause in large numbers are throttled. Those below the info level are not.
        macro_rules! throttled {
            ($level:ident) => {
                if let Some(left_out) = self.registry().shared().close_log.allow(reason) {
                    $level!(
                        %id, %peer, listener, label, bytes_in, bytes_out, reason = name, detail, left_out, "connection closed"
                    )
                }
            };
        }
        use CloseReason::*;
        match reason {
            Panic => throttled!(error),
            Error => throttled!(warn),
            // Failed handshakes have lines of their own.
            Local | Peer | Shutdown | Killed | Replaced | Detached | Handshake => log!(debug),
            Idle | PacketTimeout | SendTimeout | TooLong | PacketRate | MaxAge | Truncated | SlowConsumer => {
                throttled!(info)
            }
        }
    }

    /// Logs a failed handshake at the level info, with a limit per kind. Peers that leave, such as port scanners, are logged at
    /// the level debug.
    fn log_handshake_failure(&self, kind: HandshakeFailure, detail: &str) {
        let state = self.state();
        let (id, peer, listener, kind_name) = (state.id(), state.peer(), &**state.listener_name(), kind.name());
        let reason = CloseReason::Handshake.name();
        let left_out = match kind {
            HandshakeFailure::PeerLeft => None,
            kind => self.registry().shared().close_log.allow_handshake(kind),
        };
        match left_out {
            Some(left_out) => {
                info!(%id, %peer, listener, reason, kind = kind_name, detail, left_out, "handshake failed")
            }
            None => debug!(%id, %peer, listener, reason, kind = kind_name, detail, "handshake failed"),
        }
    }

    pub(super) fn log_end(&self, end: &End) {
        match end {
            End::Closed { reason, detail } => self.log_closed(*reason, detail),
            End::HandshakeFailed { kind, detail } => self.log_handshake_failure(*kind, detail),
            End::Refused(reason) => self.log_refused(*reason),
        }
    }

    pub(super) fn record_end(&self, span: &OpenSpan, end: &End, duration: Duration) {
        let reason = match end {
            End::Refused(reason) => return span.record("reason", reason.name()),
            End::Closed { reason, .. } => *reason,
            End::HandshakeFailed { .. } => CloseReason::Handshake,
        };
        span.record("reason", reason.name());
        span.record("duration_ms", duration.as_millis() as u64);
        span.record("bytes_in", self.state().bytes_in());
        span.record("bytes_out", self.state().bytes_out());
        span.record("packets", self.state().packets());
    }

    fn log_refused(&self, reason: RefusalReason) {
        // Failed handshakes have limits of their own, so this one is free for refusals.
        if let Some(left_out) = self.registry().shared().close_log.allow(CloseReason::Handshake) {
            let state = self.state();
            let (id, peer, listener, reason) = (state.id(), state.peer(), &**state.listener_name(), reason.name());
            info!(%id, %peer, listener, reason, left_out, "connection refused");
        }
    }
}

/// The text with control characters escaped: the peer may have chosen a part of it.
pub(super) fn without_controls(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    escaped
}
