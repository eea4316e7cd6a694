//! Rust source as tokens, without comments and literals.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// `::`
    Separator,
    Symbol(char),
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own == word)
    }
}

pub(super) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let starts = |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    // A quote also starts a lifetime.
    let is_char =
        |at: usize| chars[at] == '\'' && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\''));
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&char) = chars.get(at) {
        if starts(at, "//") {
            at += chars[at..].iter().take_while(|c| **c != '\n').count();
        } else if starts(at, "/*") {
            at = comment_end(&chars, at);
        } else if let Some(end) = raw_string_end(&chars, at) {
            at = end;
        } else if char == '\"' || is_char(at) {
            at = quoted_end(&chars, at);
        } else if char.is_alphanumeric() || char == '_' {
            let word: String = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            at += word.chars().count();
            tokens.push(Token::Word(word));
        } else if starts(at, "::") {
            at += 2;
            tokens.push(Token::Separator);
        } else {
            at += 1;
            if !char.is_whitespace() {
                tokens.push(Token::Symbol(char));
            }
        }
    }
    tokens
}

/// Behind a block comment; they nest.
fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Behind a string or a character, whose quote stands at `start`.
fn quoted_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != chars[start] {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Behind a raw string, if one starts here.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let within_word = start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_');
    let prefix = match (chars.get(start), chars.get(start + 1)) {
        _ if within_word => return None,
        (Some('r'), _) => 1,
        (Some('b' | 'c'), Some('r')) => 2,
        _ => return None,
    };
    let hashes = chars[start + prefix..].iter().take_while(|c| **c == '#').count();
    let open = start + prefix + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some((open + 1..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes))
}
