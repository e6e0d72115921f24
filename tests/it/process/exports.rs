//! Exports whose server is killed, or whose disk is full.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::api::Api;
use super::database::Database;
use super::program::Program;
use super::unusable::SmallDisk;

const CREATE: &str = "mutation { createExport(input: { format: JSON_LINES, gzip: true,
    sources: [{ errorLogs: {} }] }) { export { exportId } userErrors { code } } }";
const EXPORTS: &str =
    "{ exports { nodes { state restarts events bytes downloadPath error { code message } } } }";
const EVENTS: usize = 12_000;

async fn record(api: &Api, address: &str, events: usize) {
    for batch in 0..events / 1_000 {
        let text = |ordinal: usize| format!("{batch}/{ordinal} {}", "x".repeat(200));
        let event = |ordinal: usize| json!({ "errorLog": { "category": "API", "severity": "INFO", "errorMessage": text(ordinal) } });
        let outcomes = api.record(address, (0..1_000).map(event).collect()).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome["status"] == "RECORDED")
        );
    }
}

async fn create(api: &Api, address: &str) {
    let made = api.data(address, CREATE, json!({})).await;
    assert_eq!(made["createExport"]["userErrors"], json!([]));
}

/// Who may do what with a file.
fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn state(data: &Value) -> &str {
    data["exports"]["nodes"][0]["state"].as_str().unwrap()
}

async fn an_export_whose_server_is_killed(database: Database) {
    let serve = || {
        let exports = database.folder().join("exports").display().to_string();
        let arguments = ["serve", "--no-authentication", "--listen", "127.0.0.1:0"];
        let mut server = database.start(&[&arguments[..], &["--exports", &exports]].concat());
        let address = server.address().unwrap();
        (server, address)
    };
    let (mut server, address) = serve();
    let api = Api::new();
    record(&api, &address, EVENTS).await;
    create(&api, &address).await;
    let begun = api
        .until(&address, EXPORTS, |data| state(data) != "QUEUED")
        .await;
    assert_eq!(state(&begun), "RUNNING", "{begun}");
    server.kill();
    let (_server, address) = serve();
    let ended = |data: &Value| state(data) != "QUEUED" && state(data) != "RUNNING";
    let done = api.until(&address, EXPORTS, ended).await;
    let export = &done["exports"]["nodes"][0];
    assert_eq!(
        (&export["state"], &export["restarts"]),
        (&json!("DONE"), &json!(1)),
        "{export}"
    );
    let events = export["events"].as_str().unwrap().parse::<usize>().unwrap();
    assert!(events >= EVENTS, "{export}");
    let place = database.folder().join("exports");
    let homes: Vec<_> = std::fs::read_dir(&place).unwrap().collect();
    let home = homes.into_iter().next().unwrap().unwrap().path();
    let files: Vec<_> = std::fs::read_dir(&home).unwrap().collect();
    assert_eq!(files.len(), 1);
    let file = files.into_iter().next().unwrap().unwrap().path();
    let size = file.metadata().unwrap().len();
    assert_eq!(json!(size.to_string()), export["bytes"]);
    for (path, expected) in [(&place, 0o700), (&home, 0o700), (&file, 0o600)] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_whose_server_is_killed_is_begun_again_on_sqlite() {
    an_export_whose_server_is_killed(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_whose_server_is_killed_is_begun_again_on_postgresql() {
    if let Some(database) = Database::postgres() {
        an_export_whose_server_is_killed(database).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_onto_a_full_disk_fails_and_leaves_nothing() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 1) else {
        return;
    };
    let exports = disk.folder.join("exports").display().to_string();
    let arguments = [
        "serve",
        "--no-authentication",
        "--listen",
        "127.0.0.1:0",
        "--exports",
        &exports,
    ];
    let mut server: Program = database.start(&arguments);
    let address = server.address().unwrap();
    let api = Api::new();
    record(&api, &address, 4_000).await;
    std::fs::create_dir(&exports).unwrap();
    let filler = super::full_disk::fill(&disk.folder);
    create(&api, &address).await;
    let ended = |data: &Value| state(data) != "QUEUED" && state(data) != "RUNNING";
    let failed = api.until(&address, EXPORTS, ended).await;
    let export = &failed["exports"]["nodes"][0];
    assert_eq!(
        (&export["state"], &export["error"]["code"]),
        (&json!("FAILED"), &json!("NO_ROOM")),
        "{export}"
    );
    assert_eq!(export["downloadPath"], Value::Null);
    for home in std::fs::read_dir(&exports).unwrap() {
        assert_eq!(std::fs::read_dir(home.unwrap().path()).unwrap().count(), 0);
    }
    std::fs::remove_file(filler).unwrap();
    create(&api, &address).await;
    let done = api.until(&address, EXPORTS, ended).await;
    assert_eq!(state(&done), "DONE", "{done}");
}

#[test]
fn a_data_lake_takes_nothing_of_a_disk_that_is_left_to_others() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 4) else {
        return;
    };
    let log = format!("sqlite://{}/log.db", database.folder().display());
    let up = ["migrate", "up", "--database", &log];
    assert!(Program::run(database.folder(), &up).status.success());
    let lake = disk.folder.join("lake").display().to_string();
    let export = ["export", "--lake", &lake, "--database", &log];
    let filler = super::full_disk::fill(&disk.folder);
    let size = filler.metadata().unwrap().len();
    // a little is free, and would be enough
    let file = std::fs::File::options().write(true).open(&filler).unwrap();
    file.set_len(size - 100 * 1024).unwrap();
    drop(file);
    let told = ["cannot fill the data lake", "left to others", "make room"];
    Program::run(database.folder(), &export).refused(&told);
    std::fs::remove_file(filler).unwrap();
    let filled = Program::run(database.folder(), &export);
    assert!(filled.status.success(), "{filled:?}");
}

#[test]
fn an_export_whose_ending_is_unknown_is_refused_with_those_that_are_known() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let file = |name: &str| database.folder().join(name).display().to_string();
    let (unknown, lines) = (file("events.xlsx"), file("events.jsonl"));
    let known = [".xlsx", ".jsonl", ".csv", ".parquet", "--format"];
    database.run(&["export", "--out", &unknown]).refused(&known);
    assert!(!database.folder().join("events.xlsx").exists());
    let said = ["export", "--out", &unknown, "--format", "jsonl"];
    let named = ["export", "--out", &lines];
    for arguments in [&said[..], &named[..]] {
        let exported = database.run(arguments);
        assert!(exported.status.success(), "{exported:?}");
        assert_eq!(mode(Path::new(arguments[2])), 0o600);
    }
}

#[test]
fn what_an_export_leaves_out_is_told() {
    let mut databases = vec![Database::sqlite()];
    databases.extend(Database::postgres());
    for database in databases {
        let key = ["key", "create", "--role", "ADMIN", "--name", "me"];
        assert!(database.run(&key).status.success());
        let file = database.folder().join("all.jsonl").display().to_string();
        let export = |more: &[&str]| {
            let exported = database.run(&[&["export", "--out", &file][..], more].concat());
            assert!(exported.status.success(), "{exported:?}");
            exported.stderr
        };
        let told = export(&[]);
        assert!(told.contains("left out"), "{told}");
        assert!(told.contains(": 1 auditLog; `backup`"), "{told}");
        let before = ["--to", "2020-01-01T00:00:00Z"];
        for nothing_more in [&["--source", "errorLogs"][..], &before] {
            let told = export(nothing_more);
            assert!(!told.contains("left out"), "{told}");
        }
    }
}

#[test]
fn an_export_of_no_time_is_refused() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let file = database.folder().join("all.jsonl").display().to_string();
    let (earlier, later) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
    for (from, to) in [(later, earlier), (earlier, earlier)] {
        let export = ["export", "--out", &file, "--from", from, "--to", to];
        database.run(&export).refused(&["is not before --to"]);
        assert!(!Path::new(&file).exists());
    }
    let export = ["export", "--out", &file, "--from", earlier, "--to", later];
    assert!(database.run(&export).status.success());
}

#[test]
fn a_filter_that_is_wrong_is_told_with_what_there_is() {
    let database = Database::sqlite();
    assert!(database.run(&["migrate", "up"]).status.success());
    let lines = database.folder().join("errors.jsonl");
    let lines = lines.display().to_string();
    let fields = "the filter of ErrorLog has no field foo: it has and, or, not, occurredAt, recordedAt, provenance, \
        category, severity";
    for (filter, told) in [
        ("{\"foo\": 1}", fields),
        ("{\"foo\": {\"eq\": 1}}", fields),
        (
            "{\"severity\": \"ERROR\"}",
            "filter.severity is not an object",
        ),
        (
            "{\"severity\": {\"is\": \"ERROR\"}}",
            "filter.severity has no operator is: it has eq, in, isNull, lt, lte, gt, gte, startsWith, contains",
        ),
        (
            "{\"severity\": {\"eq\": \"LOUD\"}}",
            "filter.severity.eq is not one of CRITICAL, ERROR, WARNING, INFO",
        ),
        (
            "{\"provenance\": {\"in\": [\"MADE_UP\"]}}",
            "filter.provenance.in is not one of REAL, CONTROLLED, SIMULATED",
        ),
        (
            "{\"occurredAt\": {\"gte\": \"last week\"}}",
            "filter.occurredAt.gte is not an RFC 3339 time such as",
        ),
    ] {
        let export = [
            "export",
            "--source",
            "errorLogs",
            "--filter",
            filter,
            "--out",
            &lines,
        ];
        database.run(&export).refused(&[told]);
    }
    assert!(!Path::new(&lines).exists());
}
