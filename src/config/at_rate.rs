//! What happens to new peers above a rate.

use std::time::Duration;

/// What happens to new peers above a rate: the rate of the pool, of a listener, or of one peer.
///
/// Default: [`AtRate::Refuse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AtRate {
    /// They are refused.
    #[default]
    Refuse,
    /// They are accepted and held, in order of arrival, until their token is due, for at most this time. A peer whose token is
    /// due later is refused at once. The time must be greater than zero.
    ///
    /// A held peer has no permit. If there is none when its token is due, [`AtLimit`](super::AtLimit) decides. At most 1,024
    /// peers are held, those at the connection limit included, fewer if descriptors are scarce; further peers are refused. A
    /// held peer counts for `max_per_peer`, and as accepted once it is admitted or refused.
    ///
    /// Adopted streams are refused instead, and so are peers that a PROXY header names, which are connections already.
    Hold(#[cfg_attr(feature = "serde", serde(with = "super::representation::time"))] Duration),
}

impl AtRate {
    /// How long a peer may wait for its token. Zero if it is refused.
    pub(crate) fn max_wait(self) -> Duration {
        match self {
            AtRate::Refuse => Duration::ZERO,
            AtRate::Hold(limit) => limit,
        }
    }
}
