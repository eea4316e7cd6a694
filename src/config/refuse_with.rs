//! How refused peers are closed.

/// How peers are closed that are refused for another reason than the connection limit, for which
/// [`AtLimit`](super::AtLimit) decides.
///
/// Default: [`RefuseWith::Close`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RefuseWith {
    /// They are closed (FIN), after the refusal message if there is one.
    #[default]
    Close,
    /// They are reset (RST), without the refusal message. On this side nothing is left of the connection: no `TIME_WAIT`.
    /// Transports other than TCP close.
    Reset,
}
