//! The format of settings in a file: the keys, and the representations that differ from serde's.

use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value::Value;
use super::{Settings, SettingsPatch};

/// The keys of a patch, one by one. Implemented by the table of settings.
pub(super) trait Keys: Default {
    const ALL: &'static [&'static str];

    /// Reads the value of a key. Its errors do not name the key.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
    fn write<S: SerializeMap>(&self, map: &mut S) -> Result<(), S::Error>;
    /// The settings that the patch leaves out.
    fn missing(&self) -> Vec<&'static str>;
    fn write_changes<S: SerializeMap>(old: &Settings, new: &Settings, map: &mut S) -> Result<(), S::Error>;
}

/// Reads the value of a key.
pub(super) fn read<'de, T: Value, A: MapAccess<'de>>(
    key: &'static str,
    value: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    if value.is_some() {
        return Err(A::Error::duplicate_field(key));
    }
    let read = map.next_value_seed(Read(PhantomData));
    *value = Some(read?);
    Ok(())
}

fn named<E: serde::de::Error>(key: &str, error: E) -> E {
    let text = error.to_string();
    // `toml` adds a line with the key.
    let text = text.split("\nin `").next().unwrap_or_default().trim_end();
    E::custom(format_args!("{key}: {text}"))
}

/// Reads a key. For an unknown key, the format adds the position to the error.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a setting")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        let known = SettingsPatch::ALL.iter().find(|known| **known == key);
        known.copied().ok_or_else(|| E::unknown_field(key, SettingsPatch::ALL))
    }
}

/// Reads one value.
struct Read<T>(PhantomData<T>);

impl<'de, T: Value> DeserializeSeed<'de> for Read<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer)
    }
}

/// Writes one value.
pub(super) struct Written<'a, T>(pub(super) &'a T);

impl<T: Value> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

/// Writes the old and the new value of a setting.
pub(super) struct Change<'a, T> {
    pub(super) old: &'a T,
    pub(super) new: &'a T,
}

impl<T: Value> Serialize for Change<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("old", &Written(self.old))?;
        map.serialize_entry("new", &Written(self.new))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for SettingsPatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("SettingsPatch", SettingsPatch::ALL, Patch { names_keys: true })
    }
}

/// As [`SettingsPatch::deserialize`], for a reader that finds out the key of an error, and its position, by itself.
pub(crate) fn deserialize_unnamed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SettingsPatch, D::Error> {
    deserializer.deserialize_struct("SettingsPatch", SettingsPatch::ALL, Patch { names_keys: false })
}

struct Patch {
    names_keys: bool,
}

impl<'de> Visitor<'de> for Patch {
    type Value = SettingsPatch;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SettingsPatch, A::Error> {
        let mut patch = SettingsPatch::default();
        while let Some(key) = map.next_key_seed(Key)? {
            let read = patch.read(key, &mut map);
            read.map_err(|error| if self.names_keys { named(key, error) } else { error })?;
        }
        Ok(patch)
    }
}

impl Serialize for SettingsPatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write(&mut map)?;
        map.end()
    }
}

/// Every key is required: a key that is missing must not reset its setting.
impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let patch = SettingsPatch::deserialize(deserializer)?;
        let missing = patch.missing();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(D::Error::custom(format_args!(
                "missing settings: {missing}; `Settings` require every key, use `SettingsPatch` to leave settings as they are"
            )));
        }
        let mut settings = Settings::default();
        settings.apply(patch);
        Ok(settings)
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SettingsPatch::from(self.clone()).serialize(serializer)
    }
}
