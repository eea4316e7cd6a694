//! Texts of peers and viewers, for logs and events.

/// A text in one line: control characters, and characters that change the direction or the line of a text, are escaped; cut at `max`
/// characters.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    for (at, character) in text.chars().enumerate() {
        if at == max {
            clean.push('…');
            break;
        }
        match character {
            _ if character.is_control() || is_format(character) => clean.extend(character.escape_default()),
            _ => clean.push(character),
        }
    }
    clean
}

/// Line and paragraph separators, marks and overrides of the direction, invisible characters.
fn is_format(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_in_its_line() {
        for (text, expected) in [
            ("ann", "ann"),
            ("a\nINFO forged", "a\\nINFO forged"),
            ("\u{1b}[31mred\r", "\\u{1b}[31mred\\r"),
            ("\u{202e}gpj", "\\u{202e}gpj"),
            ("a\u{2028}b\u{85}", "a\\u{2028}b\\u{85}"),
            ("grüße <b>", "grüße <b>"),
        ] {
            assert_eq!(clean(text, 100), expected);
        }
        assert_eq!(clean(&"x".repeat(1_000), 10), "xxxxxxxxxx…");
    }
}
