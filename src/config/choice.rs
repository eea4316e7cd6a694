//! How the enums among the settings are read: a word, or a table with one key.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::representation::{time, whole};
use super::{Active, AtLimit, AtRate, BacklogPolicy, OverRate, RefuseWith, SlowConsumer};

trait Choice: Sized {
    const EXPECTED: &'static str;

    fn from_word(word: &str) -> Option<Self>;

    /// From the value of a key in a table. `None` if there is no such key.
    fn from_table<'de, A: MapAccess<'de>>(_key: &str, _: &mut A) -> Result<Option<Self>, A::Error> {
        Ok(None)
    }
}

impl Choice for AtLimit {
    const EXPECTED: &'static str = r#""wait", "close", "reset" or { hold = "2s" }"#;

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "wait" => Some(AtLimit::Wait),
            "close" => Some(AtLimit::Close),
            "reset" => Some(AtLimit::Reset),
            _ => None,
        }
    }

    fn from_table<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Option<Self>, A::Error> {
        match key {
            "hold" => map.next_value::<Limit>().map(|limit| Some(AtLimit::Hold(limit.0))),
            _ => Ok(None),
        }
    }
}

impl Choice for AtRate {
    const EXPECTED: &'static str = r#""refuse" or { hold = "2s" }"#;

    fn from_word(word: &str) -> Option<Self> {
        (word == "refuse").then_some(AtRate::Refuse)
    }

    fn from_table<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Option<Self>, A::Error> {
        match key {
            "hold" => map.next_value::<Limit>().map(|limit| Some(AtRate::Hold(limit.0))),
            _ => Ok(None),
        }
    }
}

/// How long peers are held.
#[derive(Deserialize)]
struct Limit(#[serde(with = "time")] std::time::Duration);

impl Choice for Active {
    const EXPECTED: &'static str = r#""always", "once", "passive" or { count = 3 }"#;

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "always" => Some(Active::Always),
            "once" => Some(Active::Once),
            "passive" => Some(Active::Passive),
            _ => None,
        }
    }

    fn from_table<'de, A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Option<Self>, A::Error> {
        #[derive(Deserialize)]
        struct Count(#[serde(with = "whole")] u32);

        match key {
            "count" => map.next_value::<Count>().map(|count| Some(Active::Count(count.0))),
            _ => Ok(None),
        }
    }
}

impl Choice for SlowConsumer {
    const EXPECTED: &'static str = r#""close" or "drop_newest""#;

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "close" => Some(SlowConsumer::Close),
            "drop_newest" => Some(SlowConsumer::DropNewest),
            _ => None,
        }
    }
}

impl Choice for BacklogPolicy {
    const EXPECTED: &'static str = r#""accept", "refuse" or "drop""#;

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "accept" => Some(BacklogPolicy::Accept),
            "refuse" => Some(BacklogPolicy::Refuse),
            "drop" => Some(BacklogPolicy::Drop),
            _ => None,
        }
    }
}

impl Choice for RefuseWith {
    const EXPECTED: &'static str = r#""close" or "reset""#;

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "close" => Some(RefuseWith::Close),
            "reset" => Some(RefuseWith::Reset),
            _ => None,
        }
    }
}

impl Choice for OverRate {
    const EXPECTED: &'static str = r#""slow" or "close""#;

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "slow" => Some(OverRate::Slow),
            "close" => Some(OverRate::Close),
            _ => None,
        }
    }
}

struct Choose<T>(PhantomData<T>);

impl<'de, T: Choice> Visitor<'de> for Choose<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
        T::from_word(word).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let key: String = map.next_key()?.ok_or_else(|| A::Error::invalid_type(Unexpected::Map, &self))?;
        let unknown = |key: &str| A::Error::invalid_value(Unexpected::Other(&format!("key `{key}`")), &self);
        let choice = T::from_table(&key, &mut map)?.ok_or_else(|| unknown(&key))?;
        match map.next_key::<String>()? {
            Some(key) => Err(unknown(&key)),
            None => Ok(choice),
        }
    }
}

macro_rules! deserialize {
    ($($choice:ty)+) => {
        $(impl<'de> Deserialize<'de> for $choice {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Choose(PhantomData))
            }
        })+
    };
}

deserialize!(AtLimit AtRate Active BacklogPolicy OverRate RefuseWith SlowConsumer);
