//! Real input: a bakery's till, imported again and again, whole and interrupted.

use std::io::{BufRead as _, BufReader, Write as _};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::api::Api;
use super::database::Database;
use super::program::Program;

const TILL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/till.jsonl.gz");
const TILL_EVENTS: usize = 1_597;

fn on_both(test: impl Fn(Database)) {
    test(Database::sqlite());
    if let Some(database) = Database::postgres() {
        test(database);
    }
}

/// Imports a file whole, and checks what became of its lines.
fn import(database: &Database, file: &str, recorded: usize, duplicates: usize) {
    let began = std::time::Instant::now();
    let ended = database.run(&["import", file]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let lines = recorded + duplicates;
    let told = format!(
        "{lines} lines: {recorded} recorded, {duplicates} duplicates, 0 conflicts, 0 refused"
    );
    assert!(ended.stdout.contains(&told), "{ended:?}");
    println!("{told}, in {:?}", began.elapsed());
}

async fn answers(database: &Database) -> Value {
    let (_server, address) = database.serve();
    let query = "{ deviceMetrics { totalCount } siteOperatingSchedules { totalCount } \
        devices { nodes { deviceId site { name } latestMetrics { transactionCount occurredAt } } } }";
    Api::new().data(&address, query, json!({})).await
}

fn answers_now(database: &Database) -> Value {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(answers(database))
}

#[test]
fn the_till_is_stored_once_however_often_it_is_imported() {
    on_both(|database| {
        import(&database, TILL, TILL_EVENTS, 0);
        import(&database, TILL, 0, TILL_EVENTS);
        let data = answers_now(&database);
        assert_eq!(data["deviceMetrics"]["totalCount"], "1584");
        assert_eq!(data["siteOperatingSchedules"]["totalCount"], "11");
        let device = &data["devices"]["nodes"][0]["latestMetrics"];
        assert_eq!(device["occurredAt"], "2017-04-09T15:59:59Z", "{data}");
        database.verify();
    });
}

/// Kills an import when so many events are there, and imports again until it is whole.
fn killed_import_goes_on(database: &Database, file: &str, events: usize) {
    let mut import = database.start(&["import", file]);
    // the head is read from outside: an import tells nobody how far it is
    let until = std::time::Instant::now() + super::program::DEADLINE;
    while head(database) == 0 && import.runs() {
        assert!(std::time::Instant::now() < until, "it imports nothing");
    }
    import.kill();
    let there = usize::try_from(head(database)).unwrap();
    println!("killed after {there} of {events} events");
    self::import(database, file, events - there, there);
    self::import(database, file, 0, events);
}

fn head(database: &Database) -> i64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = runtime.block_on(database.try_rows("SELECT position, position FROM log_head"));
    rows.first().map_or(0, |row| row.0)
}

#[test]
fn an_import_that_was_killed_goes_on_where_it_was() {
    on_both(|database| {
        killed_import_goes_on(&database, TILL, TILL_EVENTS);
        let data = answers_now(&database);
        assert_eq!(data["deviceMetrics"]["totalCount"], "1584");
        database.verify();
    });
}

#[test]
fn a_large_file_is_stored_once_however_often_it_is_imported() {
    let Ok(file) = std::env::var("HOMEPOT_TEST_IMPORT") else {
        println!("not covered: HOMEPOT_TEST_IMPORT names no gzip file of JSON lines");
        return;
    };
    let packed = std::fs::File::open(&file).unwrap();
    let events = BufReader::new(GzDecoder::new(packed)).lines().count();
    on_both(|database| {
        killed_import_goes_on(&database, &file, events);
        database.verify();
    });
}

#[test]
fn standard_input_is_imported_like_a_file() {
    let database = Database::sqlite();
    let mut command = super::program::command(["import", "-", "--database", &database.url]);
    command.current_dir(database.folder());
    let mut import = Program::spawn(database.folder(), command);
    let mut till = std::fs::File::open(TILL).unwrap();
    std::io::copy(&mut till, &mut import.stdin()).unwrap();
    let ended = import.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("standard input: 1597 lines: 1597 recorded"),
        "{ended:?}"
    );
}

fn errors(database: &Database) -> i64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows = runtime.block_on(database.try_rows("SELECT count(*), 0 FROM error_logs"));
    rows.first().map_or(0, |row| row.0)
}

/// Looks again and again until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let until = std::time::Instant::now() + super::program::DEADLINE;
    while !holds() {
        assert!(std::time::Instant::now() < until, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_live_pipe_is_recorded_while_it_lives_and_in_bounded_memory() {
    let database = Database::sqlite();
    let refused = database.folder().join("reasons");
    let to = refused.to_str().unwrap();
    let arguments = ["import", "-", "--refused", to, "--database", &database.url];
    let mut command = super::program::command(arguments);
    command.current_dir(database.folder());
    let mut import = Program::spawn(database.folder(), command);
    let mut pipe = import.stdin();
    let line = |extra: usize| {
        json!({ "errorLog": { "category": "SYSTEM", "severity": "INFO", "errorMessage": "live" },
            "noise": "x".repeat(extra) })
    };
    let good = json!({ "errorLog": line(0)["errorLog"] });
    writeln!(pipe, "{good}").unwrap();
    until("the first line is not recorded", || errors(&database) == 1);
    let long = line(1_000_000);
    for _ in 0..150 {
        writeln!(pipe, "{long}").unwrap();
    }
    writeln!(pipe, "{good}").unwrap();
    until("the last line is not recorded", || errors(&database) == 2);
    until("the refused lines are not written", || {
        std::fs::read_to_string(&refused).is_ok_and(|text| text.lines().count() == 150)
    });
    let memory = import.memory_max_mib();
    println!("at most {memory} MiB");
    assert!(memory < 150, "{memory} MiB");
    drop(pipe);
    let ended = import.end();
    assert!(ended.stdout.contains("152 lines: 2 recorded"), "{ended:?}");
}

/// Takes that an import ends with a code when its lines are these.
fn ends_with(database: &Database, code: i32, lines: &str) {
    let file = database.folder().join("lines.jsonl");
    std::fs::write(&file, lines).unwrap();
    let ended = database.run(&["import", file.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
}

#[test]
fn an_import_of_which_no_line_is_taken_has_failed() {
    let database = Database::sqlite();
    let good = "{\"siteRegistration\": {\"siteId\": \"s\", \"name\": \"S\"}}\n";
    let bad = "{\"siteRegistration\": {\"siteId\": \"t\"}}\n";
    ends_with(&database, 1, bad);
    ends_with(&database, 0, &format!("{bad}{good}"));
    // the good one is a repeat by now
    ends_with(&database, 0, &format!("{good}{bad}"));
    ends_with(&database, 0, "");
}

#[test]
fn a_source_that_cannot_be_read_is_told_with_what_to_do() {
    let database = Database::sqlite();
    let missing = database.run(&["import", "nowhere.jsonl"]);
    missing.refused(&["cannot open nowhere.jsonl: No such file"]);
    assert!(!database.file().exists(), "nothing was made");
    assert!(!missing.stderr.contains("again"), "{missing:?}");
    let whole = std::fs::read("tests/data/till.jsonl.gz").unwrap();
    let part = database.folder().join("part.jsonl.gz");
    std::fs::write(&part, &whole[..whole.len() / 2]).unwrap();
    let cut_off = database.run(&["import", part.to_str().unwrap()]);
    cut_off.refused(&["what came before is kept; mend the source"]);
}

#[test]
fn a_file_of_refused_lines_that_cannot_be_made_is_told_before_anything_is_imported() {
    let database = Database::sqlite();
    let folder = database.folder().to_str().unwrap();
    for to in ["/nodir/x", folder] {
        let ended = database.run(&["import", TILL, "--refused", to]);
        ended.refused(&["cannot write the file of refused lines", to]);
        assert_eq!(ended.stdout, "", "nothing was imported");
        assert!(!database.file().exists(), "nothing was made");
    }
}

#[test]
fn refused_lines_are_written_over_nothing_that_is_imported() {
    let database = Database::sqlite();
    let path = |name: &str| database.folder().join(name).display().to_string();
    let paths = ["a.jsonl", "a.jsonl.refused.jsonl", "link", "name"].map(path);
    let [lines, beside, link, name] = paths.each_ref().map(String::as_str);
    let bad = "{\"siteRegistration\": {\"siteId\": \"t\"}}\n";
    std::fs::write(lines, bad).unwrap();
    std::fs::write(beside, "reasons of before").unwrap();
    std::os::unix::fs::symlink("a.jsonl", link).unwrap();
    std::fs::hard_link(lines, name).unwrap();
    let untouched = || {
        assert_eq!(std::fs::read_to_string(lines).unwrap(), bad);
        let reasons = std::fs::read_to_string(beside).unwrap();
        assert_eq!(reasons, "reasons of before");
        assert!(!database.file().exists(), "nothing was made");
    };
    for import in [
        &[lines, "--refused", lines][..],
        &[link, "--refused", lines],
        &[lines, "--refused", link],
        &[lines, "--refused", name],
        &[TILL, lines, "--refused", name],
        &[lines, beside],
        &[beside, lines],
    ] {
        let ended = database.run(&[&["import"][..], import].concat());
        ended.refused(&["would overwrite", "leave that out", "--refused"]);
        untouched();
    }
    // also where it comes on standard input
    let mut command = super::program::command(["import", "-", "--refused", lines]);
    command.args(["--database", &database.url]);
    command.stdin(std::fs::File::open(lines).unwrap());
    let ended = command.output().unwrap();
    assert!(!ended.status.success(), "{ended:?}");
    untouched();
}

#[test]
fn whoever_writes_into_a_pipe_that_is_imported_is_heard_out() {
    let database = Database::sqlite();
    let pipe = database.folder().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let import = database.start(&["import", pipe.to_str().unwrap()]);
    let site = "{\"siteRegistration\": {\"siteId\": \"s\", \"name\": \"S\"}}\n";
    let writer = std::thread::spawn(move || std::fs::write(pipe, site));
    let ended = import.end();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.contains("1 lines: 1 recorded"), "{ended:?}");
    writer.join().unwrap().unwrap();
}

#[test]
fn a_file_for_refused_lines_stays_as_it_is_where_none_is_refused() {
    let database = Database::sqlite();
    let [missing, kept] = ["missing", "kept"].map(|name| database.folder().join(name));
    std::fs::write(&kept, "reasons of before").unwrap();
    for to in [&missing, &kept] {
        let ended = database.run(&["import", TILL, "--refused", to.to_str().unwrap()]);
        assert!(ended.status.success(), "{ended:?}");
    }
    assert!(!missing.exists());
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "reasons of before");
}

#[test]
fn a_link_for_refused_lines_may_lead_to_a_file_that_is_made_when_there_are_some() {
    let database = Database::sqlite();
    let path = |name: &str| database.folder().join(name);
    let (target, lines) = (path("reasons"), path("lines.jsonl"));
    let good = "{\"siteRegistration\": {\"siteId\": \"s\", \"name\": \"S\"}}\n";
    let bad = "{\"siteRegistration\": {\"siteId\": \"t\"}}\n";
    for (link, to) in [
        ("relative", "reasons"),
        ("absolute", target.to_str().unwrap()),
        ("of-a-link", "relative"),
    ] {
        let link = path(link);
        std::os::unix::fs::symlink(to, &link).unwrap();
        let import = |text: &str| {
            std::fs::write(&lines, text).unwrap();
            let (lines, link) = (lines.to_str().unwrap(), link.to_str().unwrap());
            database.run(&["import", lines, "--refused", link])
        };
        let ended = import(good);
        assert!(ended.status.success(), "{to}: {ended:?}");
        assert!(!target.exists(), "{to}");
        let ended = import(&format!("{good}{bad}"));
        assert!(ended.status.success(), "{to}: {ended:?}");
        let reasons = std::fs::read_to_string(&target).unwrap();
        assert_eq!(reasons.lines().count(), 1, "{to}: {reasons}");
        std::fs::remove_file(&target).unwrap();
    }
    for (link, to) in [("astray", "/nodir/x"), ("itself", "itself")] {
        let link = path(link);
        std::os::unix::fs::symlink(to, &link).unwrap();
        let link = link.to_str().unwrap();
        let ended = database.run(&["import", TILL, "--refused", link]);
        ended.refused(&["cannot write the file of refused lines", link]);
    }
}
