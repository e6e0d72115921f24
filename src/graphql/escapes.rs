//! Escapes in the strings of a document that the parser does not know: characters beyond the first 65,536,
//! as two halves (`\uD83D\uDE00`) or in braces (`\u{1F600}`). What is opened is shorter, and is filled up with
//! spaces behind its string, so that an error has its place where the document has it.

use std::borrow::Cow;

use super::guard::{after_line, after_string};

/// Digits at most in braces, the zeros before the others among them.
const BRACED_DIGITS_MAX: usize = 16;

/// The document with such escapes opened; what is none is left for the parser to refuse.
#[must_use]
pub fn opened(document: &str) -> Cow<'_, str> {
    if !document.contains("\\u") {
        return Cow::Borrowed(document);
    }
    let mut text = String::with_capacity(document.len());
    let mut rest = document;
    while let Some(at) = rest.find(['#', '"']) {
        let (before, begun) = rest.split_at(at);
        let after = match begun.strip_prefix('#') {
            Some(comment) => after_line(comment.as_bytes()),
            None => after_string(begun.as_bytes()),
        };
        let (token, after) = begun.split_at(begun.len() - after.len());
        text.push_str(before);
        // nothing is escaped so in a comment or a block
        if token.starts_with('#') || token.starts_with("\"\"\"") {
            text.push_str(token);
        } else {
            let begin = text.len();
            push_string(&mut text, token);
            let opened = text.get(begin..).map_or(0, |string| string.chars().count());
            let less = token.chars().count().saturating_sub(opened);
            text.extend(std::iter::repeat_n(' ', less));
        }
        rest = after;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

fn push_string(text: &mut String, mut string: &str) {
    while let Some(at) = string.find('\\') {
        let (before, escaped) = string.split_at(at);
        text.push_str(before);
        if let Some((character, after)) = escape(escaped) {
            push(text, character);
            string = after;
        } else {
            // with what it escapes, which may be another of its kind
            let width = escaped.chars().take(2).map(char::len_utf8).sum();
            let (kept, after) = escaped.split_at(width);
            text.push_str(kept);
            string = after;
        }
    }
    text.push_str(string);
}

/// The character of an escape that the parser does not know, and what follows it.
fn escape(text: &str) -> Option<(char, &str)> {
    let escaped = text.strip_prefix("\\u")?;
    if let Some(braced) = escaped.strip_prefix('{') {
        let end = braced
            .bytes()
            .take(BRACED_DIGITS_MAX + 1)
            .position(|byte| byte == b'}')?;
        let (digits, after) = (braced.get(..end)?, braced.get(end + 1..)?);
        return Some((char::from_u32(number(digits)?)?, after));
    }
    let (high, after) = half(escaped, 0xD800..0xDC00)?;
    let (low, after) = half(after.strip_prefix("\\u")?, 0xDC00..0xE000)?;
    let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    Some((char::from_u32(code)?, after))
}

fn half(text: &str, within: std::ops::Range<u32>) -> Option<(u32, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    let half = number(digits).filter(|half| within.contains(half))?;
    Some((half, after))
}

fn number(digits: &str) -> Option<u32> {
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// Adds a character so that it ends no string and begins no escape, in no more signs than its escape has.
fn push(text: &mut String, character: char) {
    match character {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        other => text.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_opened_in_strings_alone() {
        for (document, expected) in [
            (
                r#"{ a(b: "\uD83D\uDE00.") }"#,
                "{ a(b: \"😀.\"           ) }",
            ),
            (
                r#"{ a(b: "\u{1F600}\n\u{e9}") }"#,
                "{ a(b: \"😀\\né\"             ) }",
            ),
            // what ends a string or begins an escape stays escaped
            (r#"{ a(b: "\u{22}") c }"#, r#"{ a(b: "\""    ) c }"#),
            (
                r#"{ a(b: "\u{a}\u{d}\u{5C}n") c }"#,
                r#"{ a(b: "\n\r\\n"          ) c }"#,
            ),
            (r#"{ a(b: "\u{9}\u{0}") }"#, "{ a(b: \"\t\0\"        ) }"),
        ] {
            assert_eq!(opened(document), expected);
            assert_eq!(expected.chars().count(), document.chars().count());
        }
        for same in [
            r#"{ a(b: "\\uD83D\\uDE00 \" \u00e9") }"#,
            r#"{ a(b: "\uD83D") c(d: "\uDE00\uD83D") e(f: "\u{110000}" g: "\u{}" h: "\u{+41}") }"#,
            r#"{ a(b: """\uD83D\uDE00 "\uD83D\uDE00" """) }"#,
            r#"{ a(b: "\u{00000000000000041}") }"#,
            "{ a } # \"\\uD83D\\uDE00\"\n",
            "{ a(b: \"open\n\\uD83D\\uDE00\") }",
        ] {
            assert_eq!(opened(same), same);
        }
    }
}
