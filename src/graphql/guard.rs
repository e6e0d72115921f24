//! What a document is looked at for before anything parses it.
//!
//! The parser calls itself for each bracket in a bracket and has no limit of its own: a few kilobytes
//! of them end the stack, and with it the process. One pass over the text, without a stack, refuses
//! them first.

/// Brackets at most in each other: a document of 15 levels with the deepest values allowed has fewer.
pub const BRACKETS_MAX: usize = 96;

/// Whether a document has more brackets in each other than anybody needs. What it says of strings and
/// comments is what the language says; of a document that is none it may say anything.
#[must_use]
pub fn is_too_deep(document: &str) -> bool {
    let mut rest = document.as_bytes();
    let mut open = 0_usize;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'#' => after_line(after),
            b'"' => after_string(rest),
            b'{' | b'[' | b'(' => {
                open += 1;
                if open > BRACKETS_MAX {
                    return true;
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
    false
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

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    end.and_then(|end| text.get(end..)).unwrap_or_default()
}

/// What follows a string that begins here. One that does not end on its line is no string to the
/// parser either, so nothing is hidden behind it.
fn after_string(text: &[u8]) -> &[u8] {
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
