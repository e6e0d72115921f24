//! What a document is looked at for before anything parses it.
//!
//! The parser calls itself for each bracket in a bracket and has no limit of its own: a few kilobytes
//! of them end the stack, and with it the process. It also takes its time with each token. One pass over
//! the text, without a stack, refuses what is too large first.

use thiserror::Error;

/// Brackets at most in each other: a document of 15 levels with the deepest values allowed has fewer.
pub const BRACKETS_MAX: usize = 96;
/// Bytes at most of a document: the parser looks at each several times.
pub const DOCUMENT_BYTES_MAX: usize = 128 * 1024;
/// Tokens at most of a document, as far as they can be told apart without reading it.
pub const TOKENS_MAX: usize = 20_000;

/// Names at most outside of arguments: a document has at most 2,000 fields, each with an alias perhaps, and
/// a few hundred of everything else. Of them the parser takes its time with each.
pub const NAMES_MAX: usize = 5_000;

/// Why a document is not parsed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TooLarge {
    /// It has more brackets in each other than anybody needs.
    #[error("the document has more than {BRACKETS_MAX} brackets in each other")]
    Brackets,
    /// It is longer than anybody writes.
    #[error("the document has more than {DOCUMENT_BYTES_MAX} bytes; give values as variables")]
    Bytes,
    /// It has more parts than anybody writes.
    #[error("the document has more than {TOKENS_MAX} tokens; give values as variables")]
    Tokens,
    /// It asks for more than is ever answered.
    #[error("the document has more than {NAMES_MAX} names of fields, aliases and fragments")]
    Names,
}

/// Refuses a document that is too large to be parsed. What it says of strings and comments is what
/// the language says; of a document that is none it may say anything.
///
/// # Errors
/// When it is too large.
pub fn check(document: &str) -> Result<(), TooLarge> {
    counted(document).map(|_| ())
}

/// How many tokens a document has; of one that is too large, the most that one may have.
#[must_use]
pub fn tokens(document: &str) -> usize {
    counted(document).unwrap_or(TOKENS_MAX)
}

fn counted(document: &str) -> Result<usize, TooLarge> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(TooLarge::Bytes);
    }
    let mut rest = document.as_bytes();
    let (mut open, mut tokens, mut in_word) = (0_usize, 0_usize, false);
    let (mut arguments, mut names) = (0_usize, 0_usize);
    while let Some((&byte, after)) = rest.split_first() {
        let is_word = byte == b'_' || byte.is_ascii_alphanumeric();
        let begins = match byte {
            b'#' | b',' => false,
            _ if is_word => !in_word,
            _ => !byte.is_ascii_whitespace(),
        };
        in_word = is_word;
        tokens += usize::from(begins);
        if tokens > TOKENS_MAX {
            return Err(TooLarge::Tokens);
        }
        names += usize::from(begins && is_word && arguments == 0);
        if names > NAMES_MAX {
            return Err(TooLarge::Names);
        }
        arguments = match byte {
            b'(' => arguments + 1,
            b')' => arguments.saturating_sub(1),
            _ => arguments,
        };
        rest = match byte {
            b'#' => after_line(after),
            b'"' => after_string(rest),
            b'{' | b'[' | b'(' => {
                open += 1;
                if open > BRACKETS_MAX {
                    return Err(TooLarge::Brackets);
                }
                after
            }
            b'}' | b']' | b')' => {
                open = open.saturating_sub(1);
                after
            }
            _ => after,
        };
    }
    Ok(tokens)
}

/// How many values a text of JSON has at most.
#[must_use]
pub fn json_values(json: &[u8]) -> usize {
    let mut rest = json;
    let mut values = 1;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => after_string(rest),
            b',' | b'[' | b'{' => {
                values += 1;
                after
            }
            _ => after,
        };
    }
    values
}

pub(super) fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    end.and_then(|end| text.get(end..)).unwrap_or_default()
}

/// What follows a string that begins here. One that does not end on its line is no string to the
/// parser either, so nothing is hidden behind it.
pub(super) fn after_string(text: &[u8]) -> &[u8] {
    if let Some(block) = text.strip_prefix(b"\"\"\"") {
        return after_block(block);
    }
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => return after,
            b'\n' | b'\r' => return rest,
            b'\\' => rest = after.get(1..).unwrap_or_default(),
            _ => rest = after,
        }
    }
    rest
}

fn after_block(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b"\\\"\"\"") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"\"\"\"") {
            return after;
        } else {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_deep(document: &str) -> bool {
        check(document) == Err(TooLarge::Brackets)
    }

    fn nested(levels: usize) -> String {
        format!("{{a(b:{}{})}}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn brackets_in_each_other_are_counted_and_those_beside_each_other_are_not() {
        assert!(!is_too_deep(&nested(BRACKETS_MAX - 2)));
        assert!(is_too_deep(&nested(BRACKETS_MAX - 1)));
        assert!(!is_too_deep(&format!("{{{}}}", "a(b:[{}]) ".repeat(1_000))));
    }

    #[test]
    fn a_document_has_a_length() {
        let long = |bytes: usize| format!("{{a(b:\"{}\")}}", "x".repeat(bytes - 9));
        assert_eq!(check(&long(DOCUMENT_BYTES_MAX)), Ok(()));
        assert_eq!(check(&long(DOCUMENT_BYTES_MAX + 1)), Err(TooLarge::Bytes));
    }

    #[test]
    fn tokens_are_counted() {
        for (document, tokens) in [
            ("{ a }", 3),
            ("{a,bc,  d(e:\"f g h\", i: 12)}", 13),
            ("{ ...f } # and not this", 6),
        ] {
            assert_eq!(super::tokens(document), tokens, "{document}");
        }
        let values = |values: usize| format!("{{ a(b: [{}]) }}", "1 ".repeat(values));
        assert_eq!(check(&values(TOKENS_MAX - 9)), Ok(()));
        assert_eq!(check(&values(TOKENS_MAX - 8)), Err(TooLarge::Tokens));
    }

    #[test]
    fn names_are_counted_outside_of_arguments() {
        let fields = |fields: usize| format!("{{ {} }}", "a(b: {c: d}) ".repeat(fields));
        let bare = |fields: usize| format!("{{ {} }}", "a ".repeat(fields));
        assert_eq!(check(&fields(1_500)), Ok(()));
        assert_eq!(check(&bare(NAMES_MAX)), Ok(()));
        assert_eq!(check(&bare(NAMES_MAX + 1)), Err(TooLarge::Names));
        // what closes more than it opened hides nothing
        assert_eq!(
            check(&format!("))){}", bare(NAMES_MAX + 1))),
            Err(TooLarge::Names)
        );
    }

    #[test]
    fn values_of_json_are_counted() {
        for (json, most) in [
            ("1", 1),
            ("[1, [2], {}]", 6),
            (r#"{"a": ",[{\",", "b": 1}"#, 3),
        ] {
            assert_eq!(json_values(json.as_bytes()), most, "{json}");
        }
    }

    #[test]
    fn strings_and_comments_hide_brackets_but_nothing_behind_them() {
        let many = "[".repeat(1_000);
        assert!(!is_too_deep(&format!("{{a(b:\"{many}\\\"{many}\")}}")));
        assert!(!is_too_deep(&format!(
            "{{a(b:\"\"\"{many}\\\"\"\"{many}\"\"\")}}"
        )));
        assert!(!is_too_deep(&format!("# {many}\n{{a}}")));
        for before in ["\"open\n", "\"a\" ", "\"\"\"a\"\"\" ", "# a\r", "\"\" "] {
            assert!(is_too_deep(&format!("{before}{many}")), "{before:?}");
        }
    }
}
