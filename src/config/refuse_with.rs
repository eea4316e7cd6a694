//! How refused peers are closed.

/// How a refused peer is closed. At the connection limit, [`AtLimit`](super::AtLimit) decides instead.
///
/// Default: [`RefuseWith::Close`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RefuseWith {
    /// The connection is closed (FIN), after the refusal message if there is one.
    #[default]
    Close,
    /// The connection is reset (RST), without the refusal message. It leaves no `TIME_WAIT` state on this side. Transports
    /// other than TCP close the connection.
    Reset,
}
