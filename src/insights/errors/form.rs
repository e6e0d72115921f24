//! What the varying parts of messages look like. Each check is linear in its text.

/// A short word of nothing but lower-case letters, which no rule concerns.
#[must_use]
pub(crate) fn is_plain(word: &str) -> bool {
    word.len() < 24
        && word.bytes().all(|letter| letter.is_ascii_lowercase())
        && !is_literal(word)
        && !is_hex_word(word)
}

/// Eight or more letters that are all hexadecimal digits.
fn is_hex_word(word: &str) -> bool {
    word.len() >= 8 && word.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// What varies as a whole.
#[must_use]
pub(crate) fn is_whole(text: &str) -> bool {
    is_address(text) || is_path(text) || is_literal(text)
}

/// A URL, an e-mail address, a user at a host, an IPv6 or MAC address, a host with its domain.
#[must_use]
pub(crate) fn is_address(text: &str) -> bool {
    text.contains("://") || is_at(text) || is_colon_hex(text) || is_host(text)
}

/// `name@host`.
fn is_at(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, host)| {
        name.ends_with(|letter: char| letter.is_alphanumeric())
            && host.starts_with(|letter: char| letter.is_alphanumeric())
    })
}

/// Groups of at most four hexadecimal digits between colons: MAC, IPv6, also a time of day.
fn is_colon_hex(text: &str) -> bool {
    let text = text.split(['%', '/']).next().unwrap_or_default();
    text.matches(':').count() >= 2
        && text
            .split(':')
            .all(|group| group.len() <= 4 && group.bytes().all(|digit| digit.is_ascii_hexdigit()))
        && text.bytes().any(|digit| digit.is_ascii_digit())
}

/// Domains that are common at the end of host names beside those of countries (two letters).
const DOMAINS: [&str; 16] = [
    "com",
    "net",
    "org",
    "edu",
    "gov",
    "mil",
    "int",
    "info",
    "biz",
    "local",
    "localdomain",
    "lan",
    "internal",
    "intranet",
    "corp",
    "arpa",
];

/// Domains of countries that are English words or usual abbreviations: names of settings end with them too.
const WORDS_OF_TWO: [&str; 16] = [
    "am", "as", "at", "be", "by", "do", "id", "in", "is", "it", "me", "my", "no", "so", "to", "us",
];

/// A host with its domain, with or without a port: lower case, letters, digits and hyphens, a domain at the end.
fn is_host(text: &str) -> bool {
    let (name, port) = text
        .split_once(':')
        .map_or((text, None), |(name, port)| (name, Some(port)));
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|digit| digit.is_ascii_digit()))
    {
        return false;
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|letter| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-'
            })
    };
    let labels = name.split('.').count();
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_country = last.len() == 2
        && last.bytes().all(|letter| letter.is_ascii_lowercase())
        && !WORDS_OF_TWO.contains(&last)
        && (labels >= 3 || port.is_some());
    labels >= 2 && (is_country || DOMAINS.contains(&last)) && name.split('.').all(is_label)
}

/// A path of a file system or of a URL.
#[must_use]
pub(crate) fn is_path(text: &str) -> bool {
    let is_named = text.chars().any(char::is_alphanumeric);
    let is_rooted = text.starts_with('/')
        || text.starts_with("./")
        || text.starts_with("../")
        || text.starts_with("~/");
    let is_windows =
        text.contains(":\\") || text.starts_with("\\\\") || text.matches('\\').count() >= 2;
    is_named && (is_rooted || is_windows || text.matches('/').count() >= 2)
}

/// A value that is a word of programming languages.
#[must_use]
pub(crate) fn is_literal(text: &str) -> bool {
    matches!(
        text,
        "true"
            | "false"
            | "True"
            | "False"
            | "TRUE"
            | "FALSE"
            | "null"
            | "NULL"
            | "nil"
            | "None"
            | "NaN"
            | "(null"
    )
}

/// What may stand before `=` or `:` as a name.
#[must_use]
pub(crate) fn is_key(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_' || letter == '-')
        && text.chars().any(char::is_alphabetic)
        && text
            .chars()
            .all(|letter| letter.is_alphabetic() || matches!(letter, '_' | '-' | '.'))
}

/// A unit of time, size, rate or share after a number.
#[must_use]
pub(crate) fn is_unit(text: &str) -> bool {
    const UNITS: [&str; 50] = [
        "ns",
        "us",
        "µs",
        "ms",
        "msec",
        "msecs",
        "millisecond",
        "milliseconds",
        "microseconds",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "mins",
        "minute",
        "minutes",
        "h",
        "hr",
        "hrs",
        "hour",
        "hours",
        "day",
        "days",
        "b",
        "byte",
        "bytes",
        "kb",
        "mb",
        "gb",
        "tb",
        "kib",
        "mib",
        "gib",
        "tib",
        "hz",
        "khz",
        "mhz",
        "ghz",
        "%",
        "am",
        "pm",
        "percent",
        "bps",
        "kbps",
        "mbps",
        "gbps",
        "bit",
        "bits",
    ];
    text.len() <= 12 && UNITS.iter().any(|unit| unit.eq_ignore_ascii_case(text))
}

/// A weekday, a month or a zone as dates name them.
#[must_use]
pub(crate) fn is_calendar(text: &str) -> bool {
    const NAMES: [&str; 38] = [
        "Mon",
        "Tue",
        "Wed",
        "Thu",
        "Fri",
        "Sat",
        "Sun",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Jan",
        "Feb",
        "Mar",
        "Apr",
        "May",
        "Jun",
        "Jul",
        "Aug",
        "Sep",
        "Oct",
        "Nov",
        "Dec",
        "January",
        "February",
        "March",
        "April",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
        "Sept",
    ];
    NAMES.contains(&text)
}

/// What stays of a run of letters and digits that varies: `None` if it does not vary, the letters before a number if they
/// are a word (`printer2`), else nothing (`a1`, `4f3c`, `12ms`).
#[must_use]
pub(crate) fn prefix_of_identifier(run: &str) -> Option<&str> {
    const WORD_MIN_LETTERS: usize = 3;
    const HEX_MIN_DIGITS: usize = 6;
    let is_hex = run.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !run.chars().any(char::is_numeric) {
        return is_hex_word(run).then_some("");
    }
    let word = run.trim_end_matches(char::is_numeric);
    let is_word = word.chars().count() >= WORD_MIN_LETTERS && word.chars().all(char::is_alphabetic);
    let is_code = is_hex && run.len() >= HEX_MIN_DIGITS;
    Some(if is_word && !is_code { word } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_known_by_their_form() {
        for text in [
            "fe80::1",
            "00:1b:44:11:3a:b7",
            "a@b.org",
            "till.shop.example.com",
            "db.internal:5432",
            "ftp://x",
        ] {
            assert!(is_address(text), "{text}");
        }
        for text in [
            "java.io.IOException",
            "mapred.task.id",
            "a::b::c",
            "dfs.DataNode",
            "e.g",
            "x",
            "",
            "@",
            ":",
        ] {
            assert!(!is_address(text), "{text}");
        }
    }

    #[test]
    fn paths_are_known_by_their_form() {
        for text in [
            "/dev/usb/lp0",
            "./a",
            "~/x",
            "C:\\a",
            "\\\\host\\share",
            "a/b/c",
        ] {
            assert!(is_path(text), "{text}");
        }
        for text in ["/", "and/or", "//", "N/A", ""] {
            assert!(!is_path(text), "{text}");
        }
    }

    #[test]
    fn numbers_leave_the_word_before_them() {
        assert_eq!(prefix_of_identifier("printer2"), Some("printer"));
        assert_eq!(prefix_of_identifier("4f3c"), Some(""));
        assert_eq!(prefix_of_identifier("deadbeef"), Some(""));
        assert_eq!(prefix_of_identifier("printer"), None);
    }
}
