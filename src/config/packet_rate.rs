//! [`PacketRate`], the rate of packets of one connection as a setting, and [`OverRate`].

use std::time::Duration;

use super::Rate;

/// How many packets a connection may receive, as a token bucket that starts full, and what happens above that rate.
///
/// ```
/// use actix_acceptor::limits::{OverRate, PacketRate};
/// use std::time::Duration;
///
/// let rate = PacketRate::new(100, Duration::from_secs(1), OverRate::Close);
/// assert_eq!((rate.burst, rate.over), (100, OverRate::Close));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table such as { burst = 100, per = \"1s\", over = \"slow\" }")
)]
#[non_exhaustive]
pub struct PacketRate {
    /// The capacity of the bucket, in packets: the largest burst.
    #[cfg_attr(feature = "serde", serde(with = "super::representation::whole"))]
    pub burst: u32,
    /// The time in which an empty bucket is refilled.
    #[cfg_attr(feature = "serde", serde(with = "super::representation::time"))]
    pub per: Duration,
    /// What happens when the bucket is empty. Default in a file: `"slow"`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub over: OverRate,
}

impl PacketRate {
    /// Creates a rate. A `burst` or `per` of zero is rejected when the settings are validated.
    #[must_use]
    pub const fn new(burst: u32, per: Duration, over: OverRate) -> Self {
        PacketRate { burst, per, over }
    }

    pub(crate) fn rate(&self) -> Rate {
        Rate::new(self.burst, self.per)
    }
}

/// What happens to a connection that exceeds its [`packet_rate`](crate::Builder::packet_rate).
///
/// Default: [`OverRate::Slow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OverRate {
    /// The socket is not read until there is a token. Nothing is lost: further packets wait in the kernel, and TCP slows the
    /// peer down.
    ///
    /// All packets of one read are delivered at once. Those that exceed the tokens take future ones, so the next read waits
    /// longer.
    #[default]
    Slow,
    /// The first packet for which there is no token is not delivered, and the connection closes with
    /// [`Closed::PacketRate`](crate::Closed::PacketRate). Answers to the packets before it are sent.
    Close,
}
