//! What the agent can do: check this machine, give the newest lines of its logs, and change its own
//! interval. Whatever else it is told it says that it cannot. It may block.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ledger::Answer;
use super::machine::Machine;

/// How long the answer may take by which it is checked whether the server can be reached.
pub(super) const LATENCY_WITHIN: Duration = Duration::from_secs(5);
/// Percent of memory or disk from which a machine is not healthy.
const FULL_PERCENT: f64 = 95.0;
/// Lines of logs when no number is given.
const LINES_DEFAULT: usize = 100;
/// Bytes of the end of a log that are looked through.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// Bytes of files and their lines that are given, together, as they are written in JSON: a result has 64 KiB at
/// most.
const RESULT_BYTES_MAX: usize = 60 << 10;
/// Characters at most of why an answer was not taken.
const REASON_CHARACTERS_MAX: usize = 1_000;
/// The parameter that it owns, and its bounds in seconds.
const INTERVAL: (&str, u64, u64) = ("collectionIntervalSeconds", 1, 3_600);

/// What it needs for what it does.
#[derive(Clone, Debug)]
pub(super) struct Means {
    /// Its spool folder.
    pub(super) folder: PathBuf,
    /// Files of whose lines it may tell.
    pub(super) log_files: Vec<PathBuf>,
    /// How long the server takes to answer; `None` when it did not.
    pub(super) latency: Option<Duration>,
}

/// How a command ended, and what it has changed.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) answer: Answer,
    pub(super) interval: Option<Duration>,
}

/// Does a command.
pub(super) fn act(job_type: &str, payload: Option<&Value>, means: &Means) -> Deed {
    let empty = Map::new();
    let payload = payload.and_then(Value::as_object).unwrap_or(&empty);
    let told = match job_type {
        "HEALTH_CHECK" => check(payload, means),
        "LOG_COLLECTION" => collect(payload, means),
        "UPDATE_POS_CONFIG" => return configure(payload),
        other => cannot(
            "UNSUPPORTED",
            format!("this agent does not know how to do {other}"),
        ),
    };
    Deed {
        answer: told,
        interval: None,
    }
}

fn ended(status: &str, result: Option<Value>) -> Answer {
    Answer {
        status: status.to_owned(),
        error_code: None,
        error_message: None,
        result,
    }
}

fn cannot(code: &str, message: impl Into<String>) -> Answer {
    Answer {
        error_code: Some(code.to_owned()),
        error_message: Some(message.into()),
        ..ended("ERROR", None)
    }
}

/// The names of the checks.
const CHECKS: [&str; 4] = ["memory", "disk", "spool", "server"];

fn check(payload: &Map<String, Value>, means: &Means) -> Answer {
    let asked: Vec<&str> = match payload.get("checks").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => CHECKS.to_vec(),
    };
    if let Some(unknown) = asked.iter().find(|name| !CHECKS.contains(name)) {
        let known = CHECKS.join(", ");
        return cannot(
            "UNSUPPORTED",
            format!("there is no check {unknown}; there are {known}"),
        );
    }
    let measures = Machine::new().map(|mut machine| machine.measure()).ok();
    let below = |percent: Option<f64>| {
        let percent =
            percent.map(|percent| json!({ "ok": percent < FULL_PERCENT, "percent": percent }));
        percent.unwrap_or_else(|| json!({ "ok": true, "percent": null }))
    };
    let mut found = Map::new();
    for name in asked {
        let result = match name {
            "memory" => below(measures.as_ref().and_then(|m| m.memory_percent)),
            "disk" => below(measures.as_ref().and_then(|m| m.disk_percent)),
            "spool" => json!({ "ok": is_writable(&means.folder) }),
            _ => {
                let ms = means.latency.map(|latency| latency.as_secs_f64() * 1_000.0);
                json!({ "ok": ms.is_some(), "latencyMs": ms })
            }
        };
        found.insert(name.to_owned(), result);
    }
    let bad: Vec<&str> = found
        .iter()
        .filter(|(_, result)| result["ok"] != true)
        .map(|(name, _)| name.as_str())
        .collect();
    if bad.is_empty() {
        return ended("COMPLETED", Some(Value::Object(found)));
    }
    Answer {
        error_code: Some("UNHEALTHY".to_owned()),
        error_message: Some(format!("not healthy: {}", bad.join(", "))),
        ..ended("FAILED", Some(Value::Object(found)))
    }
}

fn is_writable(folder: &Path) -> bool {
    let probe = folder.join("probe");
    let written = File::create(&probe).and_then(|file| file.sync_all());
    // it may not be there
    let _ = std::fs::remove_file(&probe);
    written.is_ok()
}

fn collect(payload: &Map<String, Value>, means: &Means) -> Answer {
    if means.log_files.is_empty() {
        return cannot(
            "NO_LOGS",
            "this agent may give no log: start it with --log-file FILE",
        );
    }
    let lines = payload.get("lines").and_then(Value::as_u64);
    let lines = lines.and_then(|lines| usize::try_from(lines).ok());
    let lines = lines.unwrap_or(LINES_DEFAULT);
    let contains = payload.get("contains").and_then(Value::as_str);
    let share = RESULT_BYTES_MAX / means.log_files.len();
    let mut files = Vec::new();
    for path in &means.log_files {
        let name = path.display().to_string();
        let without = json!({ "file": name, "lines": [], "truncated": false });
        let left = share.saturating_sub(written_bytes(&without));
        files.push(match newest(path, contains, (lines, left)) {
            Ok((lines, is_cut)) => json!({ "file": name, "lines": lines, "truncated": is_cut }),
            Err(error) => json!({ "file": name, "error": error.to_string() }),
        });
    }
    if files.iter().all(|file| file.get("error").is_some()) {
        return Answer {
            error_code: Some("NO_LOGS".to_owned()),
            error_message: Some("no log could be read".to_owned()),
            ..ended("FAILED", Some(json!({ "files": files })))
        };
    }
    ended("COMPLETED", Some(json!({ "files": files })))
}

/// Bytes that JSON takes with the comma behind it, as the server counts them: a character in a text may be
/// written as six.
fn written_bytes(json: &Value) -> usize {
    json.to_string().len() + 1
}

/// The newest lines of a file that contain a text, as long as they are not too many and not too long when they
/// are written; and whether there were more.
fn newest(
    path: &Path,
    contains: Option<&str>,
    (lines_max, bytes_max): (usize, usize),
) -> io::Result<(VecDeque<Value>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let (mut lines, mut bytes, mut is_cut) = (VecDeque::new(), 0, from > 0);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut is_part = from > 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end().replace('\0', "");
        line.clear();
        if std::mem::take(&mut is_part) || contains.is_some_and(|part| !text.contains(part)) {
            continue;
        }
        let text = begin_of(&text, bytes_max / 4);
        bytes += written_bytes(&text);
        lines.push_back(text);
        while lines.len() > lines_max || bytes > bytes_max {
            bytes -= lines.pop_front().map_or(0, |line| written_bytes(&line));
            is_cut = true;
        }
    }
    Ok((lines, is_cut))
}

/// As much of the beginning of a line as is written in so many bytes.
fn begin_of(line: &str, bytes_max: usize) -> Value {
    let whole = json!(line);
    if written_bytes(&whole) <= bytes_max {
        return whole;
    }
    let mut left = bytes_max.saturating_sub(written_bytes(&json!("")));
    let fits = |c: &char| {
        let bytes = json!(c).to_string().len() - json!("").to_string().len();
        let is_within = bytes <= left;
        left = left.saturating_sub(bytes);
        is_within
    };
    json!(line.chars().take_while(fits).collect::<String>())
}

/// What is told in place of an answer that the server does not take, and would not when it is told again.
pub(super) fn not_taken(why: &str) -> Answer {
    let why: String = why.chars().take(REASON_CHARACTERS_MAX).collect();
    cannot(
        "NOT_TAKEN",
        format!("the server does not take the answer: {why}"),
    )
}

/// Takes over the values that it owns: all that it is told, or nothing.
fn configure(payload: &Map<String, Value>) -> Deed {
    let nothing = |answer| Deed {
        answer,
        interval: None,
    };
    let parameters = payload.get("parameters").and_then(Value::as_object);
    let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) else {
        return nothing(cannot("INVALID", "there are no parameters"));
    };
    let (name, least, most) = INTERVAL;
    if let Some(unknown) = parameters.keys().find(|key| *key != name) {
        let message = format!("this agent has no parameter {unknown}; it has {name}");
        return nothing(cannot("UNKNOWN_PARAMETER", message));
    }
    let seconds = parameters.get(name).and_then(Value::as_u64);
    let Some(seconds) = seconds.filter(|seconds| (least..=most).contains(seconds)) else {
        let message = format!("{name} is not between {least} and {most}");
        return nothing(cannot("INVALID", message));
    };
    Deed {
        answer: ended("COMPLETED", Some(json!({ name: seconds }))),
        interval: Some(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(folder: &Path) -> Means {
        Means {
            folder: folder.to_owned(),
            log_files: Vec::new(),
            latency: Some(Duration::from_millis(3)),
        }
    }

    fn told(job_type: &str, payload: &Value, means: &Means) -> (String, Option<String>) {
        let answer = act(job_type, Some(payload), means).answer;
        (answer.status, answer.error_code)
    }

    #[test]
    fn a_check_looks_at_what_it_is_asked_for_and_fails_when_that_is_not_healthy() {
        let folder = tempfile::tempdir().unwrap();
        let mut means = means(folder.path());
        let payload = json!({ "checks": ["spool", "server"] });
        let good = act("HEALTH_CHECK", Some(&payload), &means).answer;
        assert_eq!(good.status, "COMPLETED");
        assert_eq!(good.result.unwrap()["spool"], json!({ "ok": true }));
        means.latency = None;
        let bad = told("HEALTH_CHECK", &payload, &means);
        assert_eq!(bad, ("FAILED".to_owned(), Some("UNHEALTHY".to_owned())));
        let unknown = told("HEALTH_CHECK", &json!({ "checks": ["printer"] }), &means);
        assert_eq!(
            unknown,
            ("ERROR".to_owned(), Some("UNSUPPORTED".to_owned()))
        );
    }

    #[test]
    fn the_newest_lines_are_given_that_contain_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("till.log");
        let lines: Vec<String> = (0..10).map(|n| format!("line {n} {}", n % 2)).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut means = means(folder.path());
        let payload = json!({ "lines": 2, "contains": " 1" });
        let none = told("LOG_COLLECTION", &payload, &means);
        assert_eq!(none, ("ERROR".to_owned(), Some("NO_LOGS".to_owned())));
        means.log_files.push(file);
        let answer = act("LOG_COLLECTION", Some(&payload), &means).answer;
        let result = answer.result.unwrap();
        assert_eq!(result["files"][0]["lines"], json!(["line 7 1", "line 9 1"]));
        assert_eq!(result["files"][0]["truncated"], true);
        means.log_files = vec![folder.path().join("none")];
        let failed = told("LOG_COLLECTION", &payload, &means);
        assert_eq!(failed, ("FAILED".to_owned(), Some("NO_LOGS".to_owned())));
    }

    #[test]
    fn lines_are_counted_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut means = means(folder.path());
        let logs = [
            ("control", "\u{1}".repeat(1_000), 200),
            ("quoted", "\"\\".repeat(20_000), 9),
            ("short", "a".to_owned(), 100_000),
            ("empty", String::new(), 100_000),
            ("wide", "\u{1F600}".repeat(70_000), 7),
        ];
        for (name, line, count) in logs {
            let file = folder.path().join(name);
            std::fs::write(&file, format!("{line}\n").repeat(count)).unwrap();
            for files in [1, 3] {
                means.log_files = vec![file.clone(); files];
                let payload = json!({ "lines": 1_000_000 });
                let answer = act("LOG_COLLECTION", Some(&payload), &means).answer;
                let bytes = answer.result.unwrap().to_string().len();
                assert!((40_000..=65_536).contains(&bytes), "{name}: {bytes}");
            }
        }
    }

    #[test]
    fn it_takes_over_its_interval_and_refuses_what_it_does_not_own() {
        let folder = tempfile::tempdir().unwrap();
        let means = means(folder.path());
        let of = |parameters: Value| json!({ "parameters": parameters });
        let payload = of(json!({ "collectionIntervalSeconds": 5 }));
        let deed = act("UPDATE_POS_CONFIG", Some(&payload), &means);
        assert_eq!(deed.interval, Some(Duration::from_secs(5)));
        for (parameters, code) in [
            (json!({ "collectionIntervalSeconds": 0 }), "INVALID"),
            (
                json!({ "collectionIntervalSeconds": 5, "volume": 1 }),
                "UNKNOWN_PARAMETER",
            ),
            (json!({}), "INVALID"),
        ] {
            let refused = act("UPDATE_POS_CONFIG", Some(&of(parameters)), &means);
            assert_eq!(refused.interval, None);
            assert_eq!(refused.answer.error_code.as_deref(), Some(code));
        }
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let refused = told("FIRMWARE_UPDATE", &json!({}), &means(folder.path()));
        assert_eq!(
            refused,
            ("ERROR".to_owned(), Some("UNSUPPORTED".to_owned()))
        );
    }
}
