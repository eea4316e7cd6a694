//! The form of a duration in a report.

use std::time::Duration;

use serde::Serializer;

/// Writes a duration as a number of seconds with a fraction: `0.162512`.
pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// As [`seconds`]; `null` without a duration.
pub(crate) fn optional_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&time.map(|time| time.as_secs_f64()))
}
