//! Input that is damaged: each line is reported with its number and its code, the good ones are
//! stored.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::database::Database;
use super::program::{Ended, Program, command};

/// Lines of which the odd ones are good, and the codes of the others.
fn lines() -> (Vec<u8>, Vec<(u64, &'static str)>) {
    let good = |n: u32| json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": format!("good {n}") } });
    let metrics = |body: Value| json!({ "deviceMetrics": body }).to_string().into_bytes();
    let now = "2026-01-01T00:00:00Z";
    let long = json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": "x".repeat(2 << 20) } });
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"this is not JSON".to_vec(), "INVALID"),
        (b"{\"errorLog\": {\"category\": ".to_vec(), "INVALID"),
        (b"{\"teapot\": {}}".to_vec(), "UNKNOWN_KIND"),
        (b"[1, 2]".to_vec(), "INVALID"),
        (
            metrics(json!({ "deviceId": "d0", "occurredAt": now, "cpu": 5 })),
            "UNKNOWN_FIELD",
        ),
        (
            metrics(json!({ "deviceId": "d0", "occurredAt": now, "cpuPercent": 9999 })),
            "OUT_OF_RANGE",
        ),
        (
            metrics(json!({ "deviceId": "d0", "occurredAt": now, "cpuPercent": "5" })),
            "INVALID",
        ),
        (
            metrics(json!({ "deviceId": "nobody", "occurredAt": now })),
            "UNKNOWN_DEVICE",
        ),
        (metrics(json!({ "deviceId": "d0" })), "MISSING"),
        (
            metrics(json!({ "deviceId": "d0", "occurredAt": "2999-01-01T00:00:00Z" })),
            "IN_FUTURE",
        ),
        (long.to_string().into_bytes(), "TOO_LONG"),
        (
            b"{\"errorLog\": {\"errorMessage\": \"\xff\xfe\"}}".to_vec(),
            "INVALID",
        ),
    ];
    let mut text = Vec::new();
    let mut refused = Vec::new();
    for (number, (line, code)) in (0..).zip(bad) {
        writeln!(text, "{}", good(number)).unwrap();
        text.extend(line);
        text.push(b'\n');
        refused.push((u64::from(number) * 2 + 2, code));
    }
    (text, refused)
}

fn database_with_device() -> Database {
    let database = Database::sqlite();
    let file = database.folder().join("registry.jsonl");
    let registry = "{\"siteRegistration\": {\"siteId\": \"s0\", \"name\": \"S\"}}\n\
        {\"deviceRegistration\": {\"deviceId\": \"d0\", \"siteId\": \"s0\", \"deviceType\": \"GATEWAY\"}}\n";
    std::fs::write(&file, registry).unwrap();
    let ended = database.run(&["import", file.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    database
}

fn refused(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Checks what is told of the lines, and that the good ones are stored.
fn check(database: &Database, ended: &Ended, path: &Path) {
    let (_, wanted) = lines();
    let told = "24 lines: 12 recorded, 0 duplicates, 0 conflicts, 12 refused";
    assert!(ended.stdout.contains(told), "{ended:?}");
    assert!(ended.stdout.contains(path.to_str().unwrap()), "{ended:?}");
    let refused = refused(path);
    let found: Vec<(u64, &str)> = refused
        .iter()
        .map(|line| {
            (
                line["line"].as_u64().unwrap(),
                line["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, wanted, "{refused:#?}");
    assert!(
        refused
            .iter()
            .all(|line| !line["message"].as_str().unwrap().is_empty())
    );
    // what was too long is shown by its beginning
    assert!(
        refused
            .iter()
            .all(|line| line["text"].as_str().unwrap().len() < 1_000)
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = runtime.block_on(database.rows("SELECT count(*), 0 FROM error_logs"));
    assert_eq!(rows, [(12, 0)]);
    // the lines are refused, the command has done its work
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

fn write(database: &Database, name: &str, bytes: &[u8]) -> PathBuf {
    let path = database.folder().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn each_bad_line_of_a_file_is_reported_with_its_number_and_its_code() {
    let database = database_with_device();
    let file = write(&database, "bad.jsonl", &lines().0);
    let ended = database.run(&["import", file.to_str().unwrap()]);
    check(
        &database,
        &ended,
        &database.folder().join("bad.jsonl.refused.jsonl"),
    );
}

#[test]
fn each_bad_line_of_a_compressed_file_is_reported() {
    let database = database_with_device();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&lines().0).unwrap();
    let file = write(&database, "bad.gz", &gzip.finish().unwrap());
    let refused = database.folder().join("reasons");
    let to = refused.to_str().unwrap();
    let ended = database.run(&["import", file.to_str().unwrap(), "--refused", to]);
    check(&database, &ended, &refused);
}

#[test]
fn the_bad_lines_of_several_files_stand_in_one_file_with_their_names() {
    let database = database_with_device();
    let first = write(&database, "first.jsonl", b"no JSON\n");
    let second = write(&database, "second.jsonl", b"\n[]\n");
    let to = database.folder().join("reasons");
    let files = [first.to_str().unwrap(), second.to_str().unwrap()];
    let arguments = [
        &["import"][..],
        &files,
        &["--refused", to.to_str().unwrap()],
    ]
    .concat();
    let ended = database.run(&arguments);
    // nothing was taken
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let lines = refused(&to);
    let found: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["file"].as_str().unwrap(),
                line["line"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [(files[0], 1), (files[1], 2)]);
}

#[test]
fn each_bad_line_of_standard_input_is_reported() {
    let database = database_with_device();
    let refused = database.folder().join("reasons");
    let to = refused.to_str().unwrap();
    let arguments = ["import", "-", "--refused", to, "--database", &database.url];
    let mut import = Program::spawn(database.folder(), command(arguments));
    import.stdin().write_all(&lines().0).unwrap();
    let ended = import.end();
    check(&database, &ended, &refused);
}

#[test]
fn a_truncated_file_keeps_what_could_be_read_and_fails() {
    let database = database_with_device();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for n in 0..5_000 {
        let line = json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": format!("{n} {}", n * n) } });
        writeln!(gzip, "{line}").unwrap();
    }
    let whole = gzip.finish().unwrap();
    let file = write(&database, "cut.gz", &whole[..whole.len() / 2]);
    let ended = database.run(&["import", file.to_str().unwrap()]);
    ended.refused(&["cut.gz", "cannot read line", "what came before is kept"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stored = runtime.block_on(database.rows("SELECT count(*), 0 FROM error_logs"))[0].0;
    let first_lost = format!("cannot read line {}", stored + 1);
    assert!(
        stored > 1_000 && ended.stderr.contains(&first_lost),
        "{stored}: {ended:?}"
    );
    // the whole file can be imported afterwards, without repetition
    let file = write(&database, "cut.gz", &whole);
    let ended = database.run(&["import", file.to_str().unwrap()]);
    assert!(
        ended
            .stdout
            .contains(&format!("{} recorded, {stored} duplicates", 5_000 - stored)),
        "{ended:?}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let database = Database::sqlite();
    let ended = database.run(&["import", "/nowhere/at-all.jsonl"]);
    ended.refused(&["/nowhere/at-all.jsonl", "cannot open", "No such file"]);
}
