//! What happens to new peers at the connection limit.

use std::time::Duration;

/// What happens to new peers at the connection limit.
///
/// Default: [`AtLimit::Wait`].
///
/// # Signs
/// How to see that the limit is reached:
///
/// | policy | event | numbers | metric |
/// |---|---|---|---|
/// | `Wait` | [`LimitReached`], `LimitCleared`, each with a log line | [`ListenerInfo::is_at_limit`], [`PoolInfo::waiting_acceptors`] | `acceptor_at_limit`, `acceptor_waiting_acceptors` |
/// | `Close`, `Reset` | [`Refused`] with the reason [`Limit`] | [`PoolInfo::refused`] | `acceptor_refused_total{reason="limit"}` |
/// | `Hold` | [`PeerHeld`] with the reason [`Limit`], then `PeerReleased`; [`Refused`] if there was no permit in time | [`PoolInfo::held`], [`PoolInfo::refused`] | `acceptor_held_peers`, `acceptor_refused_total{reason="limit"}` |
///
/// [`LimitReached`]: crate::telemetry::PoolEvent::LimitReached
/// [`PeerHeld`]: crate::telemetry::PoolEvent::PeerHeld
/// [`Refused`]: crate::telemetry::PoolEvent::Refused
/// [`Limit`]: crate::telemetry::RefusalReason::Limit
/// [`ListenerInfo::is_at_limit`]: crate::info::ListenerInfo::is_at_limit
/// [`PoolInfo::waiting_acceptors`]: crate::info::PoolInfo::waiting_acceptors
/// [`PoolInfo::held`]: crate::info::PoolInfo::held
/// [`PoolInfo::refused`]: crate::info::PoolInfo::refused
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AtLimit {
    /// Peers are not accepted and wait in the kernel's queue, up to the backlog.
    #[default]
    Wait,
    /// Peers are accepted and closed at once, after the refusal message if there is one.
    Close,
    /// Peers are accepted and reset (RST).
    Reset,
    /// Peers are accepted and held, in order of arrival, until there is a permit. After this time a held peer is closed as
    /// by [`AtLimit::Close`]. The time must be greater than zero.
    ///
    /// At most 1,024 peers are held, fewer if descriptors are scarce; further peers are closed. A held peer counts as
    /// accepted once it is admitted or refused.
    Hold(#[cfg_attr(feature = "serde", serde(with = "super::representation::time"))] Duration),
}
