//! What happens to queued connections when a listener closes.

/// What happens to the connections in the kernel's queue when a listener closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BacklogPolicy {
    /// They are accepted and served as far as the limits allow; the others are refused.
    #[default]
    Accept,
    /// They are accepted and closed.
    Refuse,
    /// They stay with the kernel, which resets them.
    Drop,
}
