//! Access rules: who may connect at all, by address.

use std::fmt;
use std::net::IpAddr;

use crate::net::{Cidr, ParseCidrError};

/// One access rule: an address or a block of them in CIDR notation, allowed or denied.
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
    /// Lets peers of this block in.
    ///
    /// # Errors
    /// When the text is neither an IP address nor a CIDR block.
    pub fn allow(block: &str) -> Result<Self, ParseRuleError> {
        Ok(Rule { allow: true, block: block.parse()? })
    }

    /// Keeps peers of this block out.
    ///
    /// # Errors
    /// When the text is neither an IP address nor a CIDR block.
    pub fn deny(block: &str) -> Result<Self, ParseRuleError> {
        Ok(Rule { allow: false, block: block.parse()? })
    }

    /// Whether the rule lets its block in.
    pub fn allows(&self) -> bool {
        self.allow
    }

    /// Whether the rule is about this address. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn is_about(&self, ip: IpAddr) -> bool {
        self.block.contains(ip)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.allow { "allow" } else { "deny" }, self.block)
    }
}

/// As it is shown: `allow CIDR` or `deny CIDR`.
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

/// A text that is no access rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseRuleError {
    /// It does not say what to do.
    #[error("{0:?}: a rule is `allow` or `deny` and a block of addresses")]
    Form(String),
    /// It does not say to whom.
    #[error(transparent)]
    Cidr(#[from] ParseCidrError),
}

/// The first rule that is about the address decides; none: allowed.
pub(super) fn allowed(rules: &[Rule], ip: IpAddr) -> bool {
    rules.iter().find(|rule| rule.is_about(ip)).is_none_or(Rule::allows)
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
    fn the_first_rule_that_fits_decides() {
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
            assert_eq!(allowed(&rules, ip.parse().unwrap()), may, "{ip}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0", "::/129"] {
            assert!(Rule::allow(bad).is_err(), "{bad}");
        }
        assert!("permit 10.0.0.1".parse::<Rule>().is_err());
    }
}
