//! [`Place`], how errors name a listener.

use std::path::PathBuf;

use crate::error::{ConfigError, InvalidSetting, StartError, WayOut};

/// How errors name a listener: by its key in a configuration, or else by its name.
#[derive(Clone)]
pub(crate) enum Place {
    Name(String),
    Key { file: Option<PathBuf>, key: String },
}

/// A setting that a configuration does not have.
const HOOK: &str = "on_bind";

impl Place {
    /// The error of an invalid setting of this listener.
    pub(super) fn invalid(&self, InvalidSetting { setting, why }: InvalidSetting) -> StartError {
        match self {
            Place::Name(name) => InvalidSetting::new(setting, format!("listener {name:?}: {why}")).into(),
            Place::Key { key, .. } if setting == HOOK => self.config(ConfigError::new(key, format!("{setting} {why}"))),
            Place::Key { key, .. } => self.config(ConfigError::new(format!("{key}.{setting}"), why)),
        }
    }

    /// The error of a setting that the system rejected.
    pub(super) fn rejected(&self, setting: &'static str, source: std::io::Error) -> StartError {
        match self {
            Place::Name(name) => StartError::SystemError { what: format!("{setting} of listener {name:?}"), source },
            Place::Key { key, .. } => {
                let why = "rejected by the system";
                self.config(ConfigError::with_source(format!("{key}.{setting}"), why, source))
            }
        }
    }

    /// The error of an address that another listener of the list has as well.
    pub(super) fn repeated(&self, address: &crate::net::Address) -> StartError {
        let why = format!("{address} is in the list more than once; each address may be in it once");
        match self {
            Place::Name(_) => InvalidSetting::new("listener", why).into(),
            Place::Key { key, .. } => self.config(ConfigError::new(format!("{key}.address"), why)),
        }
    }

    /// Names the key in an error of the address.
    pub(super) fn locate(&self, error: StartError) -> StartError {
        let Place::Key { key, .. } = self else { return error };
        let key = format!("{key}.address");
        match error {
            StartError::SystemError { what, source } => {
                let why = format!("cannot open {what}{}", WayOut(&source));
                self.config(ConfigError::with_source(key, why, source))
            }
            error @ StartError::ListenerTimeout { .. } => self.config(ConfigError::new(key, error.to_string())),
            StartError::Several(errors) => {
                StartError::Several(errors.into_iter().map(|error| self.locate(error)).collect())
            }
            other => other,
        }
    }

    fn config(&self, error: ConfigError) -> StartError {
        StartError::Config(match self {
            Place::Key { file: Some(file), .. } => error.in_file(file),
            _ => error,
        })
    }
}
