//! Counts per label: one number for each reason that a connection closed, that a peer was refused, or that a handshake failed.

use std::fmt;
use std::ops::AddAssign;

/// A label by which events are counted: [`CloseReason`](crate::telemetry::CloseReason),
/// [`RefusalReason`](crate::telemetry::RefusalReason) or [`HandshakeFailure`](crate::telemetry::HandshakeFailure).
pub trait Label: sealed::Label {
    /// Every label, in the order of declaration.
    const ALL: &'static [Self];

    /// The label in snake case, as logs and metrics show it.
    fn name(self) -> &'static str;
}

pub(super) mod sealed {
    pub trait Label: Copy + Eq + std::fmt::Debug + 'static {
        type Array: Copy + fmt::Debug + Default + Eq + AsRef<[u64]> + AsMut<[u64]> + Send + Sync;

        fn index(self) -> usize;
    }

    use std::fmt;
}

/// The number of events per label.
///
/// ```
/// use actix_acceptor::telemetry::{CloseReason, Counts};
///
/// let counts = Counts::<CloseReason>::default();
/// assert_eq!(counts.get(CloseReason::Idle), 0);
/// assert_eq!(counts.iter().count(), CloseReason::ALL.len());
/// assert_eq!(format!("{counts:?}"), "{}");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Counts<L: Label>(L::Array);

impl<L: Label> Counts<L> {
    /// The count of one label.
    pub fn get(&self, label: L) -> u64 {
        self.0.as_ref()[label.index()]
    }

    /// The sum over all labels.
    pub fn total(&self) -> u64 {
        self.0.as_ref().iter().sum()
    }

    /// Every label with its count, zero counts included.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        L::ALL.iter().map(|label| (*label, self.get(*label)))
    }

    pub(crate) fn add(&mut self, label: L) {
        self.0.as_mut()[label.index()] += 1;
    }

    /// The events counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut counts = *self;
        for (count, before) in counts.0.as_mut().iter_mut().zip(earlier.0.as_ref()) {
            *count -= before;
        }
        counts
    }
}

impl<L: Label> Default for Counts<L> {
    fn default() -> Self {
        Counts(L::Array::default())
    }
}

impl<L: Label> AddAssign for Counts<L> {
    fn add_assign(&mut self, other: Self) {
        for (count, more) in self.0.as_mut().iter_mut().zip(other.0.as_ref()) {
            *count += more;
        }
    }
}

/// Shows a map from label to count, without the labels whose count is 0.
impl<L: Label> fmt::Debug for Counts<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(counted.map(|(label, count)| (label.name(), count))).finish()
    }
}

/// Writes a map from label to count, with every label.
#[cfg(feature = "serde")]
impl<L: Label> serde::Serialize for Counts<L> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(label, count)| (label.name(), count)))
    }
}
