//! Subjects of NATS and keys of its key-value store: names of any text become one token of letters, digits, `-`, `_` and `=`.

use std::fmt::Write;

/// A token is at most this long, so that a subject stays below the limit of NATS for a line of its protocol (4,096 bytes).
pub(crate) const MAX_TOKEN: usize = 1_024;

/// The token of a name: letters, digits, `-` and `_` stand for themselves, other bytes are `=` and two hexadecimal digits.
///
/// `None` if it would be longer than [`MAX_TOKEN`].
pub(crate) fn token(name: &str) -> Option<String> {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "={byte:02x}");
        }
    }
    if token.is_empty() {
        // No byte is escaped to this.
        token.push('=');
    }
    (token.len() <= MAX_TOKEN).then_some(token)
}

/// The length of the token of a name, also of one that is too long.
pub(crate) fn token_length(name: &str) -> usize {
    name.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum::<usize>().max(1)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The name of a token.
pub(crate) fn name(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let (mut name, mut rest) = (Vec::with_capacity(token.len()), token.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'=' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            name.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_have_different_tokens_of_safe_characters() {
        let names = ["", "=", "a", "A", "=61", "a.b", "a b", "*", ">", "a=2eb", "ä", "\u{0}", "-_"];
        let tokens: Vec<_> = names.iter().map(|name| token(name).expect("short")).collect();
        for (at, token) in tokens.iter().enumerate() {
            assert!(!token.is_empty() && !tokens[..at].contains(token), "{token}");
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
            assert!(token.bytes().all(is_safe), "{token}");
            assert_eq!(name(token).as_deref(), Some(names[at]));
            assert_eq!(token_length(names[at]), token.len());
        }
        assert_eq!((name("a=2"), name("=zz"), name("=ff")), (None, None, None));
        assert_eq!(token("a.b").as_deref(), Some("a=2eb"));
        assert_eq!(token(&"a".repeat(MAX_TOKEN)).map(|token| token.len()), Some(MAX_TOKEN));
        assert_eq!(token(&".".repeat(MAX_TOKEN / 3 + 1)), None);
    }
}
