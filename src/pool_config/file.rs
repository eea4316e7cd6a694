//! Configurations from files, in TOML or JSON. Feature `config`.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::PoolConfig;
use crate::error::ConfigError;

#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
impl PoolConfig {
    /// Reads a file in TOML (`.toml`) or JSON (`.json`). Relative paths in it refer to the directory of the file.
    ///
    /// Certificates are read later, by [`Builder::config`](crate::Builder::config) or [`Pool::reload`](crate::Pool::reload).
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, is longer than 4 MiB, or is not named `.toml` or `.json`; or its
    /// content is not valid or has an unknown key. [`ConfigError`] names the file and the key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::from_toml,
            Some("json") => Self::from_json,
            _ => {
                let why = "unknown format; the name of the file must end with `.toml` or `.json`";
                return Err(ConfigError::new("", why).in_file(path));
            }
        };
        let text = read(path).map_err(|error| ConfigError::unreadable(path, error))?;
        let config = parse(&text).map_err(|error| error.in_file(path))?;
        Ok(PoolConfig { file: Some(path.to_owned()), ..config })
    }

    /// Parses a text in TOML.
    ///
    /// # Errors
    /// The text is not valid TOML, or has an unknown key or an invalid value. [`ConfigError`] names the key.
    ///
    /// ```
    /// use actix_acceptor::PoolConfig;
    ///
    /// let config = PoolConfig::from_toml("settings.max_connections = 100")?;
    /// assert_eq!(config.settings.max_connections, Some(100));
    ///
    /// let error = PoolConfig::from_toml("settings.max_connections = -1").unwrap_err();
    /// assert_eq!(error.key, "settings.max_connections");
    /// # Ok::<_, actix_acceptor::error::ConfigError>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let parsed = toml::Deserializer::parse(text).map_err(|error| toml_error(String::new(), text, &error))?;
        Self::read(parsed, |key, error| toml_error(key, text, &error))
    }

    /// Parses a text in JSON.
    ///
    /// # Errors
    /// The same as those of [`from_toml`](PoolConfig::from_toml).
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let mut parsed = serde_json::Deserializer::from_str(text);
        let config = Self::read(&mut parsed, |key, error| json_error(key, &error))?;
        parsed.end().map_err(|error| json_error(String::new(), &error))?;
        Ok(config)
    }

    /// Reads a configuration. Errors name the key.
    fn read<'de, D: serde::Deserializer<'de>>(
        parsed: D,
        error_at: impl FnOnce(String, D::Error) -> ConfigError,
    ) -> Result<Self, ConfigError> {
        let mut track = serde_path_to_error::Track::new();
        let config = Self::deserialize(serde_path_to_error::Deserializer::new(parsed, &mut track));
        config.map_err(|error| {
            let path = track.path().to_string();
            error_at(if path == "." { String::new() } else { path }, error)
        })
    }
}

/// The greatest length of a file, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Reads a regular file of at most [`MAX_FILE`] bytes. Opening a pipe would wait for its other end.
fn read(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

fn toml_error(key: String, text: &str, error: &toml::de::Error) -> ConfigError {
    let why = match (error.message().trim_end(), error.span().and_then(|span| text.get(span))) {
        ("duplicate key", Some(name)) => format!("duplicate key `{name}`"),
        (why, _) => why.replace('\n', " "),
    };
    let position = error.span().and_then(|span| text.get(..span.start)).map(|before| {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!(" at line {line} column {column}")
    });
    ConfigError::new(key, format!("{why}{}", position.unwrap_or_default()))
}

fn json_error(key: String, error: &serde_json::Error) -> ConfigError {
    ConfigError::new(key, error.to_string())
}
