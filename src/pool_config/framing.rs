//! The framing in a configuration.

use super::ChangeFraming;
use crate::error::ConfigError;
use crate::framing::Framing;

/// How bytes are split into packets: a [`Framing`] and its limit. A field that is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table such as { name = \"lines\", max_frame = 65536 }")
)]
#[non_exhaustive]
pub struct FramingConfig {
    /// The name of a framing: `raw`, `lines`, `len1`, `len2`, `len4` or `len8`.
    pub name: Option<String>,
    /// Packets end with this text: [`Framing::delimiter`]. Excludes `name`.
    pub delimiter: Option<String>,
    /// The greatest length of an incoming packet, in bytes, at least 1: [`Framing::with_max_frame`].
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::config::representation::whole::given"))]
    pub max_frame: Option<usize>,
}

impl FramingConfig {
    /// Applies these fields to the current framing.
    pub(super) fn change(&self) -> Result<ChangeFraming, ConfigError> {
        if self.max_frame == Some(0) {
            return Err(ConfigError::new("framing.max_frame", "must be at least 1 byte (got 0)"));
        }
        let framing = match (&self.name, &self.delimiter) {
            (Some(_), Some(_)) => {
                let why = "cannot be combined with `framing.name`; remove one of the two";
                return Err(ConfigError::new("framing.delimiter", why));
            }
            (Some(name), None) => {
                let framing = name.parse::<Framing>();
                Some(framing.map_err(|error| ConfigError::caused("framing.name", error))?)
            }
            (None, Some(end)) if end.is_empty() => {
                return Err(ConfigError::new("framing.delimiter", "must have at least 1 byte (got an empty text)"));
            }
            (None, Some(end)) => Some(Framing::delimiter(end)),
            (None, None) => None,
        };
        let max_frame = self.max_frame;
        Ok(Box::new(move |current| {
            let max_frame = max_frame.unwrap_or(current.max_frame());
            framing.unwrap_or(current).with_max_frame(max_frame)
        }))
    }
}
