//! How settings look in a file.

/// A time, or `"never"`.
pub(super) mod or_never {
    use std::time::Duration;

    use serde::{de::Error, Deserialize, Deserializer, Serializer};

    const NEVER: &str = "never";

    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(&humantime::format_duration(*time)),
            None => serializer.serialize_str(NEVER),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == NEVER {
            return Ok(None);
        }
        humantime::parse_duration(&text).map(Some).map_err(D::Error::custom)
    }
}
