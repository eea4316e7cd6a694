//! What happened, in numbers: one count per way a connection can end, and per reason to refuse a peer.
//!
//! The counts themselves live in the [table](crate::table), under the same lock as the entries they count, so that a
//! snapshot always adds up.

mod complaints;
mod reason;
mod refusal;

pub(crate) use complaints::Complaints;
pub use reason::{ClosedCounts, Reason};
pub use refusal::{Refusal, RefusedCounts};
