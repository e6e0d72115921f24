//! Where `export --out` leads: files, links, pipes and folders, each as it is, and what a killed export has left.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::database::Database;
use super::program::{DEADLINE, Ended, Program};

/// A log of one event, which is what somebody searched for.
fn recorded() -> Database {
    let database = Database::sqlite();
    let lines = database.folder().join("lines.jsonl");
    let searched =
        "{\"userActivity\": {\"activityType\": \"SEARCH_QUERY\", \"searchQuery\": \"=1+1\"}}\n";
    std::fs::write(&lines, searched).unwrap();
    let imported = database.run(&["import", lines.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    database
}

fn export(database: &Database, out: &Path, more: &[&str]) -> Ended {
    let out = ["export", "--out", out.to_str().unwrap()];
    database.run(&[&out[..], more].concat())
}

fn exported(database: &Database, out: &Path, more: &[&str]) -> Ended {
    let ended = export(database, out, more);
    assert!(ended.status.success(), "{ended:?}");
    ended
}

/// A pipe that has a name.
fn pipe(database: &Database) -> PathBuf {
    let pipe = database.folder().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    pipe
}

fn is_whole(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn whoever_reads_from_a_pipe_gets_the_export_and_the_pipe_stays() {
    let database = recorded();
    let pipe = pipe(&database);
    let read = pipe.clone();
    let reader = std::thread::spawn(move || std::fs::read_to_string(read).unwrap());
    let ended = exported(&database, &pipe, &[]);
    assert_eq!(ended.stdout, "", "nothing is said between what is exported");
    let found = std::fs::symlink_metadata(&pipe).unwrap();
    assert!(found.file_type().is_fifo());
    assert_eq!(reader.join().unwrap().lines().count(), 1);
}

/// Whether a process has said that it listens for being told to stop.
fn listens(program: &Program) -> bool {
    let caught = program.status("SigCgt").unwrap();
    let terminate = 1 << 14;
    u64::from_str_radix(&caught, 16).unwrap() & terminate != 0
}

#[test]
fn an_export_into_a_pipe_from_which_nobody_reads_ends_when_it_is_told_to() {
    let database = recorded();
    let pipe = pipe(&database);
    let export = database.start(&["export", "--out", pipe.to_str().unwrap()]);
    let until = Instant::now() + DEADLINE;
    while !listens(&export) {
        assert!(Instant::now() < until, "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    export.terminate();
    export.end().refused(&["the export was cancelled"]);
}

#[test]
fn what_a_link_leads_to_is_exported_into_and_the_link_stays() {
    let database = recorded();
    let below = database.folder().join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("old.jsonl"), "of before").unwrap();
    for name in ["old.jsonl", "new.jsonl"] {
        let link = database.folder().join(name);
        symlink(Path::new("below").join(name), &link).unwrap();
        exported(&database, &link, &[]);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        is_whole(&below.join(name));
    }
    assert_eq!(std::fs::read_dir(below).unwrap().count(), 2);
}

#[test]
fn a_folder_is_refused_before_anything_is_read() {
    // of which there is no file
    let database = Database::sqlite();
    let told = ["it is a folder: name a file in it", "events.jsonl"];
    export(&database, database.folder(), &[]).refused(&told);
}

#[test]
fn what_a_killed_export_has_left_is_replaced_unless_another_writes_it() {
    let database = recorded();
    let [out, left] = ["a.jsonl", "a.jsonl.partial"].map(|name| database.folder().join(name));
    std::fs::write(&out, "of before").unwrap();
    std::fs::write(&left, "half").unwrap();
    let other = std::fs::File::open(&left).unwrap();
    other.lock().unwrap();
    let told = ["another process writes", "a.jsonl.partial"];
    export(&database, &out, &[]).refused(&told);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "of before");
    assert_eq!(std::fs::read_to_string(&left).unwrap(), "half");
    // as when its process ends, however that ends
    other.unlock().unwrap();
    exported(&database, &out, &[]);
    is_whole(&out);
    assert!(!left.exists());
}

#[test]
fn csv_is_for_programs_unless_it_is_asked_for_spreadsheets() {
    let database = recorded();
    let out = database.folder().join("a.csv");
    let source = ["--source", "userActivity"];
    exported(&database, &out, &source);
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(text.contains(",=1+1,"), "{text}");
    let flag = ["--spreadsheet", "--source", "userActivity"];
    exported(&database, &out, &flag);
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(text.contains(",'=1+1,"), "{text}");
    let lines = database.folder().join("a.jsonl");
    export(&database, &lines, &flag).refused(&["written as CSV", "JSON lines"]);
    assert!(!lines.exists());
}
