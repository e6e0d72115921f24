//! What of a stack trace tells where an error comes from: the kind of error and the frames nearest to it that are the
//! program's own. Line numbers and library frames take no part: they move with every release.

/// Own frames that take part.
const FRAMES_MAX: usize = 3;
/// Lines that are looked at, from the end where the innermost frame is.
const LINES_MAX: usize = 256;
/// Characters of a frame's name that are kept.
const NAME_MAX: usize = 120;

/// How the frames of libraries and runtimes begin, or what they contain.
const LIBRARIES: [&str; 34] = [
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "org.springframework.",
    "org.apache.",
    "org.eclipse.",
    "org.hibernate.",
    "io.netty.",
    "com.google.",
    "android.",
    "androidx.",
    "dalvik.",
    "System.",
    "Microsoft.",
    "node:",
    "internal/",
    "/node_modules/",
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "<frozen ",
    "std::",
    "core::",
    "alloc::",
    "tokio::",
    "__rust",
    "rust_begin_unwind",
    "runtime.",
];

/// The signature of a stack trace, such as `IOException at a.B.read < a.C.run`; `None` if no frame is found.
#[must_use]
pub(crate) fn signature(trace: &str) -> Option<String> {
    let lines: Vec<&str> = trace
        .lines()
        .take(4 * LINES_MAX)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let is_python = lines
        .iter()
        .any(|line| line.starts_with("Traceback (most recent call last)"));
    let numbered: Vec<Frame<'_>> = lines
        .iter()
        .take(LINES_MAX)
        .filter_map(|line| numbered_frame(line))
        .collect();
    let frames: Vec<Frame<'_>> = if is_python {
        lines
            .iter()
            .rev()
            .take(LINES_MAX)
            .filter_map(|line| frame(line))
            .collect()
    } else if numbered.is_empty() {
        lines
            .iter()
            .take(LINES_MAX)
            .filter_map(|line| frame(line))
            .collect()
    } else {
        numbered
    };
    let own: Vec<&Frame<'_>> = frames
        .iter()
        .filter(|frame| !frame.is_library())
        .take(FRAMES_MAX)
        .collect();
    let chosen = if own.is_empty() {
        frames.iter().take(FRAMES_MAX).collect()
    } else {
        own
    };
    if chosen.is_empty() {
        return None;
    }
    let names: Vec<String> = chosen
        .iter()
        .map(|frame| frame.name.chars().take(NAME_MAX).collect())
        .collect();
    let kind = if is_python {
        lines.last()
    } else {
        lines.first()
    };
    Some(format!(
        "{} at {}",
        kind.map_or("error", |line| kind_of(line)),
        names.join(" < ")
    ))
}

/// A frame: the function's name and, where told, its file.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    name: &'a str,
    place: &'a str,
}

impl Frame<'_> {
    fn is_library(&self) -> bool {
        let is_within = |part: &str| part.starts_with('/') && self.place.contains(part);
        LIBRARIES.iter().any(|part| {
            self.name.starts_with(part) || self.place.starts_with(part) || is_within(part)
        })
    }
}

/// Reads a line as a frame of Java, .NET, JavaScript or Python.
fn frame(line: &str) -> Option<Frame<'_>> {
    if let Some(rest) = line.strip_prefix("at ") {
        return Some(frame_after_at(rest));
    }
    if let Some(rest) = line.strip_prefix("File \"") {
        let (place, rest) = rest.split_once('"')?;
        let name = rest.rsplit_once(" in ").map_or(place, |(_, name)| name);
        return Some(Frame {
            name: name.trim(),
            place,
        });
    }
    None
}

/// Reads a line as a frame of Rust: `3: till::sale::print`.
fn numbered_frame(line: &str) -> Option<Frame<'_>> {
    let (number, name) = line.split_once(": ")?;
    let is_numbered = !number.is_empty()
        && number.len() <= 4
        && number.bytes().all(|digit| digit.is_ascii_digit());
    let name = name
        .strip_prefix("0x")
        .and_then(|rest| rest.split_once(" - "))
        .map_or(name, |(_, name)| name);
    is_numbered.then(|| Frame {
        name: without_hash(name.trim()),
        place: "",
    })
}

/// `a.B.c(B.java:12)`, `N.C.M(String s) in file:line 3`, `f (file.js:1:2)`, `file.js:1:2`.
fn frame_after_at(rest: &str) -> Frame<'_> {
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let (name, place) = rest.split_once('(').unwrap_or((rest, ""));
    let place = rest.split_once(" in ").map_or(place, |(_, place)| place);
    // Java names the module before the class: `java.base/java.io.Reader.read`.
    let name = name
        .split_once('/')
        .filter(|(module, _)| module.contains("java.") || module.contains("jdk."))
        .map_or(name, |(_, name)| name);
    let bare = name
        .trim()
        .trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == ':');
    Frame {
        name: bare,
        place: if place.is_empty() { bare } else { place },
    }
}

/// Drops the hash that Rust adds to names (`::h0123456789abcdef`).
fn without_hash(name: &str) -> &str {
    name.rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16)
        .map_or(name, |(name, _)| name)
}

/// The kind of error of the line that names it: what stands before the colon, without package.
fn kind_of(line: &str) -> &str {
    let line = line
        .strip_prefix("Exception in thread ")
        .and_then(|rest| rest.rsplit_once("\" "))
        .map_or(line, |(_, rest)| rest);
    let kind = line.split([':', ' ']).next().unwrap_or_default();
    let kind = kind.rsplit('.').next().unwrap_or_default();
    if kind.is_empty() || kind == "at" || kind.len() > NAME_MAX {
        "error"
    } else {
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAVA: &str = "java.io.IOException: no paper in tray 3\n\tat java.base/java.io.Reader.read(Reader.java:12)\n\tat shop.printer.Spool.next(Spool.java:88)\n\tat shop.till.Sale.print(Sale.java:31)\n\tat java.lang.Thread.run(Thread.java:1)";

    #[test]
    fn own_frames_and_kind_make_it() {
        assert_eq!(
            signature(JAVA).as_deref(),
            Some("IOException at shop.printer.Spool.next < shop.till.Sale.print")
        );
    }

    #[test]
    fn lines_and_message_do_not_matter() {
        let other = JAVA.replace(":88", ":91").replace("tray 3", "tray 4");
        assert_eq!(signature(JAVA), signature(&other));
    }

    #[test]
    fn python_is_read_from_its_end() {
        let trace = "Traceback (most recent call last):\n  File \"/app/main.py\", line 3, in run\n    sell()\n  File \"/app/till.py\", line 9, in sell\n    x\n  File \"/usr/lib/python3/site-packages/x.py\", line 1, in x\n    y\nValueError: bad 3";
        assert_eq!(
            signature(trace).as_deref(),
            Some("ValueError at sell < run")
        );
    }

    #[test]
    fn rust_and_javascript_are_read() {
        let rust = "   0: rust_begin_unwind\n   1: core::panicking::panic_fmt\n   2: till::sale::print::h0123456789abcdef\n             at ./src/sale.rs:3";
        assert!(signature(rust).is_some_and(|text| text.contains("till::sale::print")));
        let script = "TypeError: x is undefined\n    at print (/app/till.js:3:14)\n    at node:internal/main:1:2";
        assert_eq!(signature(script).as_deref(), Some("TypeError at print"));
    }

    #[test]
    fn no_frames_no_signature() {
        assert_eq!(signature(""), None);
        assert_eq!(signature("just words\nand more"), None);
    }

    #[test]
    fn hostile_traces_are_bounded() {
        let trace = format!("E: x\n{}", "at a(b)\n".repeat(100_000));
        assert!(signature(&trace).is_some_and(|text| text.len() < 500));
    }
}
