//! The macro that makes, from one table of settings, [`Settings`](super::Settings), their defaults, the patch, and everything
//! that goes through all fields.

/// Declares the settings: a name, a type that implements [`Value`](super::value::Value), and a default for each.
macro_rules! settings {
    (
        $(#[$doc:meta])*
        pub struct Settings {
            $($(#[doc = $field_doc:literal])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Settings { $($field: $default,)* }
            }
        }

        /// New values for some [`Settings`]. A setting that is left out (`None`) stays as it is.
        ///
        /// [`Builder::patch`](crate::Builder::patch) applies it to a builder, [`Pool::apply`](crate::Pool::apply) to a
        /// running pool. A setting that is an `Option` itself has three states: `None` leaves it as it is, `Some(None)`
        /// disables it, `Some(Some(value))` sets it.
        ///
        /// With feature `serde`, a patch can be read from a file or a request. Its keys are any of those of [`Settings`], in
        /// the same format. Unknown keys are rejected, and every error names the key.
        ///
        /// ```
        /// use actix_acceptor::{Settings, SettingsPatch};
        /// use std::time::Duration;
        ///
        /// let mut patch = SettingsPatch::default();
        /// patch.max_connections = Some(100);
        /// patch.idle_timeout = Some(None);
        ///
        /// let mut settings = Settings::default();
        /// settings.max_age = Some(Duration::from_secs(60));
        /// let changed = settings.apply(patch);
        /// assert_eq!((settings.max_connections, settings.idle_timeout), (100, None));
        /// assert_eq!(settings.max_age, Some(Duration::from_secs(60)));
        /// assert_eq!(changed.to_string(), "max_connections: 16384 -> 100, idle_timeout: 1m -> never");
        /// ```
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct SettingsPatch {
            $(
                #[doc = concat!("A new value for [`Settings::", stringify!($field), "`].")]
                pub $field: Option<$type>,
            )*
        }

        impl Settings {
            /// Changes the settings that the patch contains, and returns what changed. The values are not validated.
            pub fn apply(&mut self, patch: SettingsPatch) -> super::Changed {
                let before = self.clone();
                $(if let Some(value) = patch.$field {
                    self.$field = value;
                })*
                super::Changed::new(before, self.clone())
            }

            /// The name and the documentation of every setting.
            pub(super) const DOCUMENTED: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($field_doc, "\n"),*)),)*];

            /// The settings that differ between the two, in the order of the fields.
            pub(super) fn differences(&self, new: &Settings) -> Vec<super::SettingChange> {
                let mut differences = Vec::new();
                $(if self.$field != new.$field {
                    let (old, new) = (&self.$field, &new.$field);
                    differences.push(super::SettingChange::new(stringify!($field), old, new));
                })*
                differences
            }
        }

        impl SettingsPatch {
            /// Whether the patch contains no setting.
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_none())*
            }

            /// Adds the settings of another patch. Where both have one, the other's value wins.
            pub fn merge(&mut self, other: SettingsPatch) {
                $(if other.$field.is_some() {
                    self.$field = other.$field;
                })*
            }
        }

        /// A patch that has every setting.
        impl From<Settings> for SettingsPatch {
            fn from(settings: Settings) -> Self {
                SettingsPatch { $($field: Some(settings.$field),)* }
            }
        }

        #[cfg(feature = "serde")]
        impl super::format::Keys for SettingsPatch {
            const ALL: &'static [&'static str] = &[$(stringify!($field),)*];

            fn read<'de, A: serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
                match key {
                    $(stringify!($field) => super::format::read(stringify!($field), &mut self.$field, map),)*
                    unknown => Err(serde::de::Error::unknown_field(unknown, Self::ALL)),
                }
            }

            fn write<S: serde::ser::SerializeMap>(&self, map: &mut S) -> Result<(), S::Error> {
                $(if let Some(value) = &self.$field {
                    map.serialize_entry(stringify!($field), &super::format::Written(value))?;
                })*
                Ok(())
            }

            fn missing(&self) -> Vec<&'static str> {
                let mut missing = Vec::new();
                $(if self.$field.is_none() {
                    missing.push(stringify!($field));
                })*
                missing
            }

            fn write_changes<S: serde::ser::SerializeMap>(
                old: &Settings,
                new: &Settings,
                map: &mut S,
            ) -> Result<(), S::Error> {
                $(if old.$field != new.$field {
                    let change = super::format::Change { old: &old.$field, new: &new.$field };
                    map.serialize_entry(stringify!($field), &change)?;
                })*
                Ok(())
            }
        }
    };
}

pub(super) use settings;
