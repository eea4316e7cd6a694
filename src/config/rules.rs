//! Access rules: which addresses may connect.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Cidr, ParseCidrError};

/// An access rule: allows or denies an address, or a block of addresses in CIDR notation.
///
/// The first rule whose block contains the peer's address decides. If none does, the peer is allowed.
///
/// ```
/// use actix_acceptor::limits::Rule;
///
/// let rule = Rule::deny("10.0.0.0/8")?;
/// assert_eq!(rule.to_string(), "deny 10.0.0.0/8");
/// assert_eq!(Rule::allow("::1")?.to_string(), "allow ::1/128");
/// # Ok::<_, actix_acceptor::limits::ParseRuleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    allow: bool,
    block: Cidr,
}

impl Rule {
    /// Allows the peers of this block.
    ///
    /// # Errors
    /// If the text is neither an IP address nor a CIDR block.
    pub fn allow(block: &str) -> Result<Self, ParseRuleError> {
        Ok(Rule { allow: true, block: block.parse()? })
    }

    /// Denies the peers of this block.
    ///
    /// # Errors
    /// If the text is neither an IP address nor a CIDR block.
    pub fn deny(block: &str) -> Result<Self, ParseRuleError> {
        Ok(Rule { allow: false, block: block.parse()? })
    }

    /// Whether the rule allows its block.
    pub fn allows(&self) -> bool {
        self.allow
    }

    /// Whether the rule's block contains this address. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn matches(&self, ip: IpAddr) -> bool {
        self.block.contains(ip)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.allow { "allow" } else { "deny" }, self.block)
    }
}

/// Parses `allow CIDR` or `deny CIDR`.
impl std::str::FromStr for Rule {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, ParseRuleError> {
        match text.trim().split_once(' ') {
            Some(("allow", block)) => Rule::allow(block.trim()),
            Some(("deny", block)) => Rule::deny(block.trim()),
            _ => Err(ParseRuleError::Form(text.to_owned())),
        }
    }
}

/// The text is not a valid [`Rule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRuleError {
    /// The text does not begin with `allow` or `deny`.
    #[error("invalid rule {0:?}: expected \"allow CIDR\" or \"deny CIDR\"")]
    Form(String),
    /// The block of addresses is invalid.
    #[error(transparent)]
    Cidr(#[from] ParseCidrError),
}

/// Whether the rules allow an address. The first rule whose block contains it decides; if there is none, it is allowed.
pub(crate) fn is_allowed(rules: &[Rule], ip: IpAddr) -> bool {
    rules.iter().find(|rule| rule.matches(ip)).is_none_or(Rule::allows)
}

#[cfg(feature = "serde")]
mod as_text {
    use super::Rule;
    use serde::{de::Error, Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for Rule {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Rule {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_rule_decides() {
        let rules =
            [Rule::deny("127.0.0.2").unwrap(), Rule::allow("127.0.0.0/8").unwrap(), Rule::deny("::/0").unwrap()];
        for (ip, may) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::ffff:127.0.0.2", false),
            ("::ffff:127.0.0.3", true),
            ("::1", false),
            ("10.0.0.1", true),
        ] {
            assert_eq!(is_allowed(&rules, ip.parse().unwrap()), may, "{ip}");
        }
    }

    #[test]
    fn an_invalid_block_is_an_error() {
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0", "::/129"] {
            assert!(Rule::allow(bad).is_err(), "{bad}");
        }
        assert!("permit 10.0.0.1".parse::<Rule>().is_err());
    }
}
