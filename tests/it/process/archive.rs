//! Archives that are killed: each event stays in one place, and whoever asks is answered as before.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use homepot_analytics::clock::Clock;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::api::{Api, RECORD};
use super::database::Database;
use super::kill::{rounds, seed};
use super::program::{DEADLINE, Program};
use super::unusable::SmallDisk;

/// Events of each kind that are recorded before each round.
const EVENTS: usize = 200;

/// What is known to be recorded, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    metrics: usize,
    errors: usize,
}

async fn register(api: &Api, address: &str) {
    let events = json!([
        { "siteRegistration": { "siteId": "s", "name": "S" } },
        { "deviceRegistration": { "deviceId": "d", "siteId": "s", "deviceType": "POS_TERMINAL" } },
    ]);
    api.record_new(address, events).await;
}

/// Records events of a round, which happened more than two years ago.
async fn record_round(api: &Api, address: &str, round: usize) {
    let at = |ordinal: usize| {
        let second = round * EVENTS + ordinal;
        let (minute, second) = (second / 60, second % 60);
        format!(
            "2024-01-01T{:02}:{:02}:{second:02}Z",
            minute / 60,
            minute % 60
        )
    };
    let metrics = (0..EVENTS).map(|ordinal| {
        json!({ "deviceMetrics": { "deviceId": "d", "cpuPercent": 5, "occurredAt": at(ordinal) } })
    });
    api.record_new(address, metrics.collect()).await;
    let errors = (0..EVENTS).map(|ordinal| {
        json!({ "errorLog": { "category": "API", "severity": "ERROR",
            "errorMessage": format!("{round}/{ordinal}"), "occurredAt": at(ordinal) } })
    });
    api.record_new(address, errors.collect()).await;
}

async fn counted(api: &Api, address: &str) -> Counts {
    let query = "{ deviceMetrics { totalCount } errorLogs(filter: { category: { eq: API } }) { totalCount } }";
    let data = api.data(address, query, json!({})).await;
    let count = |field: &str| data[field]["totalCount"].as_str().unwrap().parse().unwrap();
    Counts {
        metrics: count("deviceMetrics"),
        errors: count("errorLogs"),
    }
}

/// Archives what is old enough, some of which may have to be folded first by the server.
fn archive(database: &Database) {
    let until = Instant::now() + DEADLINE;
    loop {
        let archive = database.run(&["retention", "run"]);
        assert!(archive.status.success(), "{archive:?}");
        if archive.stdout.contains("nothing else is old enough") {
            return;
        }
        assert!(Instant::now() < until, "it waits for more: {archive:?}");
    }
}

/// A server with events of a round that are folded; it, its address and a client.
async fn with_old_events(database: &Database) -> (Program, String, Api) {
    let (server, address) = database.serve();
    let api = Api::new();
    register(&api, &address).await;
    record_round(&api, &address, 0).await;
    api.folded(&address).await;
    (server, address, api)
}

/// A database whose old events are archived, and nobody serves any more; a client.
async fn archived(database: &Database) -> Api {
    let (_server, _, api) = with_old_events(database).await;
    archive(database);
    api
}

/// Takes the segments away; from where, and where they are now.
fn taken_away(database: &Database) -> (PathBuf, PathBuf) {
    let at = |name: &str| database.folder().join(name);
    let (place, elsewhere) = (at("log.db.segments"), at("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    (place, elsewhere)
}

async fn archives_that_are_killed(database: Database) {
    let seed = seed();
    println!("seed {seed}: repeat it with HOMEPOT_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (_server, address) = database.serve();
    let api = Api::new();
    register(&api, &address).await;
    let (rounds, mut expected, mut ended) = (rounds(), Counts::default(), 0);
    for round in 0..usize::try_from(rounds).unwrap() {
        record_round(&api, &address, round).await;
        expected.metrics += EVENTS;
        expected.errors += EVENTS;
        let mut archive = database.start(&["retention", "run"]);
        let killed_after = Duration::from_millis(rng.random_range(0..3_000));
        tokio::time::sleep(killed_after).await;
        ended += i32::from(!archive.runs());
        archive.kill();
        // of a server that did not do it
        assert_eq!(counted(&api, &address).await, expected, "round {round}");
        database.verify();
    }
    println!("{ended} of {rounds} archives had ended");
    api.folded(&address).await;
    archive(&database);
    assert_eq!(counted(&api, &address).await, expected);
    let segments = database
        .rows("SELECT CAST(sum(events) AS BIGINT), CAST(sum(bytes) AS BIGINT) FROM segments")
        .await;
    let archived = usize::try_from(segments[0].0).unwrap();
    assert_eq!(archived, expected.metrics + expected.errors);
    let log = api.log(&address, None, "").await;
    let positions = log.iter().map(|event| event["position"].as_str().unwrap());
    assert!(positions.eq((1..=log.len()).map(|position| position.to_string())));
    database.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_in_one_place_when_archives_are_killed_on_sqlite() {
    archives_that_are_killed(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_in_one_place_when_archives_are_killed_on_postgresql() {
    if let Some(database) = Database::postgres() {
        archives_that_are_killed(database).await;
    }
}

async fn segments_that_are_elsewhere(database: Database) {
    archived(&database).await;
    let (place, elsewhere) = taken_away(&database);
    let words = ["segments cannot be found at", "--segments"];
    let checked = database.run(&["verify"]);
    checked.refused(&["cannot be checked without what was archived"]);
    for word in words {
        assert!(checked.stdout.contains(word), "{checked:?}");
    }
    assert!(!checked.stderr.contains("is damaged:"), "{checked:?}");
    let (server, _) = database.serve();
    for word in words {
        assert!(server.stderr().contains(word), "{}", server.stderr());
    }
    drop(server);
    assert!(!place.exists(), "no folder is made by looking");
    std::fs::rename(&elsewhere, &place).unwrap();
    database.verify();
    let (server, _) = database.serve();
    assert!(!server.stderr().contains(words[0]), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_are_elsewhere_are_told_and_no_damage_on_sqlite() {
    segments_that_are_elsewhere(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_are_elsewhere_are_told_and_no_damage_on_postgresql() {
    if let Some(database) = Database::postgres() {
        segments_that_are_elsewhere(database).await;
    }
}

async fn an_archive_into_another_place(database: Database) {
    let api = archived(&database).await;
    let (place, elsewhere) = taken_away(&database);
    // what is old, and no repeat of what was archived
    let (server, address) = database.serve();
    let old = json!([{ "deviceMetrics": { "deviceId": "d", "cpuPercent": 5,
        "occurredAt": "2025-02-01T00:00:00Z" } }]);
    api.record_new(&address, old).await;
    api.folded(&address).await;
    let refused = database.run(&["retention", "run"]);
    refused.refused(&["segments cannot be found at", "--segments"]);
    server.says("old events could not be archived, will try again");
    drop(server);
    assert!(!place.exists(), "nothing is archived beside the others");
    std::fs::rename(&elsewhere, &place).unwrap();
    let (_server, address) = database.serve();
    archive(&database);
    assert_eq!(counted(&api, &address).await.metrics, EVENTS + 1);
    database.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_archived_into_another_place_on_sqlite() {
    an_archive_into_another_place(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_archived_into_another_place_on_postgresql() {
    if let Some(database) = Database::postgres() {
        an_archive_into_another_place(database).await;
    }
}

/// What a server answers to its probe: the status, whether it is degraded, and what it says of the archive.
async fn probed(api: &Api, address: &str) -> (u16, bool, String) {
    let (status, body) = api.get(&format!("{address}/readyz"), None).await;
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(said["ready"], json!(status == 200), "{said}");
    let archive = said["checks"]["archive"].as_str().unwrap();
    (status, said["degraded"] == true, archive.to_owned())
}

/// What a server says by its metrics of what was archived.
async fn measured(api: &Api, address: &str) -> String {
    let (_, metrics) = api.get(&format!("{address}/metrics"), None).await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("homepot_archive_readable "));
    line.unwrap().to_owned()
}

async fn an_archive_that_is_gone(database: Database) {
    let api = archived(&database).await;
    let (server, address) = database.serve();
    let well = (200, false, "ok".to_owned());
    assert_eq!(probed(&api, &address).await, well);
    assert_eq!(measured(&api, &address).await, "1");
    let (place, elsewhere) = taken_away(&database);
    let archived = "{ deviceMetrics(order: OLDEST_FIRST, first: 1) { nodes { cpuPercent } } }";
    let missing = "not where this server looks for it";
    let answer = api.call(&address, archived, json!({})).await.unwrap();
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "ARCHIVE_MISSING", "{answer}");
    assert_eq!(error["extensions"]["retryable"], false, "{answer}");
    assert!(error["message"].as_str().unwrap().contains(missing));
    // at once, since somebody could not read it, and after a start
    let degraded = (200, true, format!("it is {missing}"));
    assert_eq!(probed(&api, &address).await, degraded);
    assert_eq!(measured(&api, &address).await, "0");
    drop(server);
    let (server, address) = database.serve();
    assert_eq!(probed(&api, &address).await, degraded);
    // what is new is taken, and what may be a repeat is to be sent again
    let of = |at: &str| json!([{ "deviceMetrics": { "deviceId": "d", "cpuPercent": 5, "occurredAt": at } }]);
    let now = Clock::system().now().to_string();
    api.record_new(&address, of(&now)).await;
    let repeat = json!({ "input": { "events": of("2024-01-01T00:00:00Z") } });
    for _ in 0..3 {
        let answer = api.call(&address, RECORD, repeat.clone()).await.unwrap();
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "UNAVAILABLE", "{answer}");
        assert_eq!(error["extensions"]["retryable"], true, "{answer}");
        assert!(error["message"].as_str().unwrap().contains(missing));
    }
    // once, and not each time
    server.terminate();
    let said = server.end().stderr;
    let told = said.matches("what was archived cannot be read").count();
    assert_eq!(told, 1, "{said}");
    assert!(!said.contains(" ERROR "), "{said}");
    std::fs::rename(&elsewhere, &place).unwrap();
    let (_server, address) = database.serve();
    assert_eq!(probed(&api, &address).await, well);
    let answer = api.data(&address, RECORD, repeat).await;
    assert_eq!(answer["recordEvents"]["outcomes"][0]["status"], "DUPLICATE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_gone_is_told_to_all_on_sqlite() {
    an_archive_that_is_gone(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_gone_is_told_to_all_on_postgresql() {
    if let Some(database) = Database::postgres() {
        an_archive_that_is_gone(database).await;
    }
}

/// Whoever meets the loss tells all at once: nobody reads what was archived here, and none looks for it by itself.
async fn an_archive_that_is_gone_for_a_run(database: Database) {
    archived(&database).await;
    let (_server, address) = database.serve();
    let api = Api::new();
    assert!(!probed(&api, &address).await.1);
    taken_away(&database);
    let run = "mutation { runRetention { isComplete userErrors { code } } }";
    let answer = api.call(&address, run, json!({})).await.unwrap();
    let code = &answer["errors"][0]["extensions"]["code"];
    assert_eq!(code, "ARCHIVE_MISSING", "{answer}");
    let (status, is_degraded, why) = probed(&api, &address).await;
    assert_eq!((status, is_degraded), (200, true), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_gone_for_a_run_is_told_to_all_on_sqlite() {
    an_archive_that_is_gone_for_a_run(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_gone_for_a_run_is_told_to_all_on_postgresql() {
    if let Some(database) = Database::postgres() {
        an_archive_that_is_gone_for_a_run(database).await;
    }
}

async fn commands_without_their_archive(database: Database) {
    archived(&database).await;
    taken_away(&database);
    let out = |name: &str| database.folder().join(name).display().to_string();
    let (lines, copy) = (out("all.jsonl"), out("backup.gz"));
    // where no place is given, and where there is nothing at the one beside the file
    let without = |arguments: &[&str]| {
        let database_at = ["--database", database.url.as_str()];
        Program::run(database.folder(), &[arguments, &database_at].concat())
    };
    let why = if database.file().exists() {
        "its folder is not there"
    } else {
        "it is not said where segments lie: give --segments"
    };
    let exported = without(&["export", "--out", &lines]);
    exported.refused(&["cannot export into", why]);
    // at once, since nothing passes by that it waits
    assert!(!exported.stderr.contains("will try again"), "{exported:?}");
    let backed_up = without(&["backup", &copy]);
    backed_up.refused(&["cannot back up into", "files of segments", why]);
    assert!(!backed_up.stderr.contains("the database"), "{backed_up:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_their_archive_say_so_at_once_on_sqlite() {
    commands_without_their_archive(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_without_their_archive_say_so_at_once_on_postgresql() {
    if let Some(database) = Database::postgres() {
        commands_without_their_archive(database).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_keeps_events_in_their_tables_and_is_told() {
    let database = Database::sqlite();
    let Some(disk) = SmallDisk::mount(database.folder(), 1) else {
        return;
    };
    let (_server, address, api) = with_old_events(&database).await;
    let filler = super::full_disk::fill(&disk.folder);
    let segments = disk.folder.display().to_string();
    let arguments = [
        "retention",
        "run",
        "--database",
        &database.url,
        "--segments",
        &segments,
    ];
    Program::run(database.folder(), &arguments).refused(&["No space left on device"]);
    let expected = Counts {
        metrics: EVENTS,
        errors: EVENTS,
    };
    assert_eq!(counted(&api, &address).await, expected);
    database.verify();
    std::fs::remove_file(filler).unwrap();
    // the next one goes on, where there is room
    archive(&database);
    assert_eq!(counted(&api, &address).await, expected);
    database.verify();
}

/// What projections have not folded is not said to be too young.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_projection_is_told_by_a_run() {
    let mut databases = vec![Database::sqlite()];
    databases.extend(Database::postgres());
    for database in databases {
        let (server, ..) = with_old_events(&database).await;
        drop(server);
        database.execute("DELETE FROM checkpoints WHERE projection = 'rollups'");
        let waiting = format!("deviceMetrics: {EVENTS} events are old enough and are not archived");
        for action in ["run", "status"] {
            let told = database.run(&["retention", action]);
            assert!(told.stdout.contains(&waiting), "{told:?}");
            assert!(told.stdout.contains("the projection rollups"), "{told:?}");
            assert!(!told.stdout.contains("projection status"), "{told:?}");
            assert!(!told.stdout.contains("nothing else"), "{told:?}");
        }
    }
}

/// It speaks of kinds, as whoever records them does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_retention_names_kinds_and_what_to_give() {
    let mut databases = vec![Database::sqlite()];
    databases.extend(Database::postgres());
    for database in databases {
        let (server, ..) = with_old_events(&database).await;
        let status = database.run(&["retention", "status"]);
        let archive = database.run(&["retention", "run"]);
        for told in [&status, &archive] {
            assert!(told.status.success(), "{told:?}");
            assert!(!told.stdout.contains("device_metrics"), "{told:?}");
        }
        let kind = "deviceMetrics: archived after 90 days";
        assert!(status.stdout.contains(kind), "{status:?}");
        drop(server);
        if database.url.starts_with("postgres") {
            let arguments = ["retention", "run", "--database", &database.url];
            let nowhere = Program::run(database.folder(), &arguments);
            nowhere.refused(&["give --segments"]);
            assert!(!nowhere.stderr.contains("start the server"), "{nowhere:?}");
        }
    }
}

/// The audit tells who gave it up, and why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_lost_for_good_is_given_up_by_a_command() {
    let mut databases = vec![Database::sqlite()];
    databases.extend(Database::postgres());
    for database in databases {
        let api = archived(&database).await;
        let homes = std::fs::read_dir(database.folder().join("log.db.segments")).unwrap();
        let files = homes.flat_map(|home| std::fs::read_dir(home.unwrap().path()).unwrap());
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        let is_lost = |file: &&PathBuf| name(file).starts_with("error_logs-");
        let lost = files.iter().find(is_lost).unwrap();
        let kept = files.iter().find(|file| !is_lost(file)).unwrap();
        std::fs::remove_file(lost).unwrap();
        let (lost, kept) = (name(lost), name(kept));
        let verified = database.run(&["verify"]);
        assert!(
            verified
                .stdout
                .contains(&format!("retention give-up {lost}")),
            "{verified:?}"
        );
        let refused = database.run(&["retention", "give-up", &kept]);
        refused.refused(&[&kept, "is not given up"]);
        let give_up = ["retention", "give-up", &lost, "--reason", "the disk broke"];
        let given_up = database.run(&give_up);
        assert!(given_up.status.success(), "{given_up:?}");
        let told = format!("errorLog: {EVENTS} events are given up");
        assert!(given_up.stdout.contains(&told), "{given_up:?}");
        database
            .run(&give_up)
            .refused(&["no segment is called", &lost]);
        database.verify();
        let (_server, address) = database.serve();
        let expected = Counts {
            metrics: EVENTS,
            errors: 0,
        };
        assert_eq!(counted(&api, &address).await, expected);
        let query = "{ auditLog(first: 1, filter: { operation: { eq: \"retention give-up\" } }) { \
            nodes { action outcome actor target reason } } }";
        let data = api.data(&address, query, json!({})).await;
        let expected = json!([{ "action": "COMMAND", "outcome": "DONE", "actor": "command line",
            "target": lost, "reason": "the disk broke" }]);
        assert_eq!(data["auditLog"]["nodes"], expected);
    }
}
