//! [`Changed`], the settings whose value has changed.

use std::fmt;

use super::value::{Shown, Value};
use super::Settings;

/// The settings whose value has changed, with the old and the new value. Empty if nothing changed.
///
/// It is displayed as `max_connections: 16384 -> 100, idle_timeout: 1m -> never`, with the values as a file in TOML writes
/// them, words and times without quotes; as `nothing changed` if it is empty. With feature `serde` it is serialized as a map
/// from names to values in the format of [`Settings`]: `{"max_connections": {"old": 16384, "new": 100}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    old: Box<Settings>,
    new: Box<Settings>,
}

/// One setting of [`Changed`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SettingChange {
    /// The name of the setting: a field of [`Settings`].
    pub setting: &'static str,
    /// Its old value, as a file in TOML writes it; words and times without quotes.
    pub old: String,
    /// Its new value, as text.
    pub new: String,
}

impl Changed {
    pub(crate) fn new(old: Settings, new: Settings) -> Self {
        Changed { old: Box::new(old), new: Box::new(new) }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.old == self.new
    }

    /// The settings that changed, in the order of the fields of [`Settings`].
    pub fn settings(&self) -> Vec<SettingChange> {
        self.old.differences(&self.new)
    }

    /// Whether this setting changed. The name is that of the field.
    pub fn contains(&self, setting: &str) -> bool {
        self.settings().iter().any(|change| change.setting == setting)
    }
}

impl SettingChange {
    pub(super) fn new<T: Value>(setting: &'static str, old: &T, new: &T) -> Self {
        Self::of_texts(setting, &Shown(old), &Shown(new))
    }

    pub(crate) fn of_texts(setting: &'static str, old: &impl fmt::Display, new: &impl fmt::Display) -> Self {
        SettingChange { setting, old: old.to_string(), new: new.to_string() }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<_> = self.settings().iter().map(SettingChange::to_string).collect();
        match changes.is_empty() {
            true => f.write_str("nothing changed"),
            false => f.write_str(&changes.join(", ")),
        }
    }
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.setting, self.old, self.new)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Changed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use super::format::Keys;
        use serde::ser::SerializeMap;

        let mut map = serializer.serialize_map(None)?;
        super::SettingsPatch::write_changes(&self.old, &self.new, &mut map)?;
        map.end()
    }
}
