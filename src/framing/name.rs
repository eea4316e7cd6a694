//! The names of framings, for command lines and configuration files.

use std::{fmt, str::FromStr};

use super::{Framing, Kind, ParseFramingError};

/// Parses `raw`, `lines`, `len1`, `len2`, `len4` or `len8`. The limit is the default.
///
/// ```
/// use actix_acceptor::Framing;
/// let framing: Framing = "len4".parse()?;
/// assert_eq!(framing.to_string(), "len4");
/// assert_eq!(framing.max_frame(), Framing::DEFAULT_MAX_FRAME);
/// assert!("len3".parse::<Framing>().is_err());
/// # Ok::<(), actix_acceptor::framing::ParseFramingError>(())
/// ```
impl FromStr for Framing {
    type Err = ParseFramingError;

    fn from_str(name: &str) -> Result<Self, ParseFramingError> {
        match name {
            "raw" => Ok(Self::raw()),
            "lines" => Ok(Self::lines()),
            "len1" => Ok(Self::len1()),
            "len2" => Ok(Self::len2()),
            "len4" => Ok(Self::len4()),
            "len8" => Ok(Self::len8()),
            _ => Err(ParseFramingError::new(name)),
        }
    }
}

/// Writes the name that [`FromStr`] parses. A delimiter has no such name; its bytes are shown.
///
/// ```
/// use actix_acceptor::Framing;
/// assert_eq!(Framing::lines().to_string(), "lines");
/// assert_eq!(Framing::delimiter("\r\n\0").to_string(), r#"delimiter "\r\n\x00""#);
/// ```
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Raw => f.pad("raw"),
            Kind::Lines => f.pad("lines"),
            Kind::Length1 => f.pad("len1"),
            Kind::Length2 => f.pad("len2"),
            Kind::Length4 => f.pad("len4"),
            Kind::Length8 => f.pad("len8"),
            Kind::Delimiter(end) => write!(f, "delimiter {end:?}"),
        }
    }
}
