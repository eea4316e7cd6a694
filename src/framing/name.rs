//! The names of the framings, for a command line or a configuration file.

use std::{fmt, str::FromStr};

use super::{Framing, ParseFramingError, TransportKind};

/// `raw`, `lines`, `len1`, `len2`, `len4` or `len8`, exactly so. The limit is the default one.
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

/// The name that [`FromStr`] reads. A delimiter has none; it is shown for the reader only.
///
/// ```
/// use actix_acceptor::Framing;
/// assert_eq!(Framing::lines().to_string(), "lines");
/// assert_eq!(Framing::delimiter("\r\n\0").to_string(), r#"delimiter "\r\n\x00""#);
/// ```
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TransportKind::Raw => f.pad("raw"),
            TransportKind::Lines => f.pad("lines"),
            TransportKind::Length1 => f.pad("len1"),
            TransportKind::Length2 => f.pad("len2"),
            TransportKind::Length4 => f.pad("len4"),
            TransportKind::Length8 => f.pad("len8"),
            TransportKind::Delimiter(end) => write!(f, "delimiter {end:?}"),
        }
    }
}
