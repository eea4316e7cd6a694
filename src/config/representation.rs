//! The representations of values in a file that differ from serde's: modules for `serde(with)`.

/// As the type's own `Serialize` and `Deserialize`.
pub(crate) mod plain {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::deserialize(deserializer)
    }
}

/// A time such as `"1h 30m"`; `"never"` or null for `None`.
pub(crate) mod or_never {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    const NEVER: &str = "never";

    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(&humantime::format_duration(*time)),
            None => serializer.serialize_str(NEVER),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        struct TimeOrNever;

        impl<'de> Visitor<'de> for TimeOrNever {
            type Value = Option<Duration>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a time such as "10s" or "1h 30m", or "never""#)
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == NEVER {
                    return Ok(None);
                }
                super::parse_time(text, &self).map(Some)
            }
        }

        deserializer.deserialize_any(TimeOrNever)
    }
}

/// A time or `"never"` that may be left out.
pub(crate) fn given_or_never<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<std::time::Duration>>, D::Error> {
    or_never::deserialize(deserializer).map(Some)
}

/// Parses a time such as `"1h 30m"`.
fn parse_time<E: serde::de::Error>(text: &str, expected: &dyn serde::de::Expected) -> Result<std::time::Duration, E> {
    humantime::parse_duration(text).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), expected))
}

fn invalid_number<E: serde::de::Error>(number: i128, expected: &dyn serde::de::Expected) -> E {
    E::invalid_value(serde::de::Unexpected::Other(&format!("integer `{number}`")), expected)
}

/// A time such as `"1h 30m"`.
pub(crate) mod time {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        struct Time;

        impl Visitor<'_> for Time {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a time such as "10s" or "1h 30m""#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                super::parse_time(text, &self)
            }
        }

        deserializer.deserialize_str(Time)
    }

    #[derive(Deserialize)]
    struct Given(#[serde(with = "self")] Duration);

    /// A time that may be left out.
    pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Given>::deserialize(deserializer)?.map(|time| time.0))
    }
}

/// A whole number.
pub(crate) mod whole {
    use std::fmt::{self, Display};
    use std::marker::PhantomData;

    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) trait Number: TryFrom<i128> {
        const MAX: Self;
    }

    impl Number for u8 {
        const MAX: Self = u8::MAX;
    }

    impl Number for u32 {
        const MAX: Self = u32::MAX;
    }

    impl Number for usize {
        const MAX: Self = usize::MAX;
    }

    pub(crate) fn serialize<T: Serialize, S: Serializer>(number: &T, serializer: S) -> Result<S::Ok, S::Error> {
        number.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: Number + Display,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_u64(Whole(PhantomData))
    }

    struct Whole<T>(PhantomData<T>);

    impl<T: Number + Display> Visitor<'_> for Whole<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from 0 to {}", T::MAX)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            self.visit_i128(number.into())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            self.visit_i128(number.into())
        }

        fn visit_i128<E: Error>(self, number: i128) -> Result<T, E> {
            T::try_from(number).map_err(|_| super::invalid_number(number, &self))
        }
    }

    #[derive(Deserialize)]
    #[serde(bound = "T: Number + Display")]
    struct Given<T>(#[serde(with = "self")] T);

    /// A number that may be left out.
    pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Number + Display,
        D: Deserializer<'de>,
    {
        Ok(Option::<Given<T>>::deserialize(deserializer)?.map(|number| number.0))
    }
}

/// A value; `"none"` or null for `None`.
pub(crate) mod or_none {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Error, MapAccess, Unexpected, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::config::{PacketRate, Rate};

    const NONE: &str = "none";

    /// A type whose values may be left out.
    pub(crate) trait Optional: Sized {
        const EXPECTED: &'static str;
        const IS_TABLE: bool;

        fn from_number(number: i128) -> Option<Self>;
    }

    impl Optional for usize {
        const EXPECTED: &'static str = r#"a whole number such as 100, or "none""#;
        const IS_TABLE: bool = false;

        fn from_number(number: i128) -> Option<Self> {
            number.try_into().ok()
        }
    }

    impl Optional for Rate {
        const EXPECTED: &'static str = r#"a table such as { burst = 100, per = "1s" }, or "none""#;
        const IS_TABLE: bool = true;

        fn from_number(_: i128) -> Option<Self> {
            None
        }
    }

    impl Optional for PacketRate {
        const EXPECTED: &'static str = r#"a table such as { burst = 100, per = "1s", over = "slow" }, or "none""#;
        const IS_TABLE: bool = true;

        fn from_number(_: i128) -> Option<Self> {
            None
        }
    }

    pub(crate) fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(NONE),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Optional + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(OrNone(PhantomData))
    }

    struct OrNone<T>(PhantomData<T>);

    impl<'de, T: Optional + Deserialize<'de>> Visitor<'de> for OrNone<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::EXPECTED)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                NONE => Ok(None),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            self.visit_i128(number.into())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
            self.visit_i128(number.into())
        }

        fn visit_i128<E: Error>(self, number: i128) -> Result<Self::Value, E> {
            T::from_number(number).map(Some).ok_or_else(|| super::invalid_number(number, &self))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            match T::IS_TABLE {
                true => T::deserialize(MapAccessDeserializer::new(map)).map(Some),
                false => Err(A::Error::invalid_type(Unexpected::Map, &self)),
            }
        }
    }
}

/// Bytes, as a string if they are valid UTF-8, else as a list of numbers.
pub(crate) mod text_or_bytes {
    use std::fmt;

    use serde::de::value::SeqAccessDeserializer;
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct TextOrBytes;

        impl<'de> Visitor<'de> for TextOrBytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a list of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, bytes: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(bytes))
            }
        }

        deserializer.deserialize_any(TextOrBytes)
    }
}
