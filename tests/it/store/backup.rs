//! A backup holds all that was acknowledged before it began, and comes back whole or not at all.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use homepot_analytics::event::Position;
use homepot_analytics::kinds::Kind;
use homepot_analytics::projections;
use homepot_analytics::store::{BackupError, Location, Outcome, backup, restore, verify};

use crate::support::{
    Backend, Database, FLEET_EVENTS, TestLog, contract, device, error, keyed_error, metrics,
    request, samples,
};

contract![
    a_backup_restores_to_the_same_log,
    a_backup_restores_to_the_other_database,
    a_backup_of_many_months_is_restored,
    a_backup_under_load_is_sound_and_has_what_was_acknowledged,
    a_restore_raises_the_epoch,
    two_restores_of_one_backup_are_told_apart,
    a_restored_log_goes_on,
    a_backup_of_an_older_version_is_brought_up_to_date,
    a_damaged_backup_is_refused,
    a_backup_is_not_written_over,
    a_backup_that_fails_leaves_no_file,
    a_backup_is_made_after_one_that_was_killed_and_where_a_link_leads,
    a_restore_never_mixes_two_logs,
    a_backup_of_a_newer_version_is_refused,
];

async fn filled(database: &Database) -> TestLog {
    let log = database.open().await.with_fleet().await;
    for (seed, kind) in (1..).zip(Kind::all()) {
        log.record(samples(kind, 30, seed)).await;
    }
    log
}

/// The fleet, and thirty events of each kind.
fn filled_events() -> i64 {
    5 + 30 * i64::try_from(Kind::ALL.len()).unwrap()
}

fn file(database: &Database) -> PathBuf {
    database.dir().join("backup.gz")
}

async fn back_up(database: &Database) -> PathBuf {
    let file = file(database);
    backup(&database.location(), &file, &|_| {}).await.unwrap();
    file
}

async fn assert_sound(location: &Location) {
    let verified = verify(location, &projections::all(), &|_| {})
        .await
        .unwrap();
    assert_eq!(verified.findings, []);
}

async fn a_backup_restores_to_the_same_log(database: Database) {
    let log = filled(&database).await;
    let file = back_up(&database).await;
    let other = database.empty("restored").await;
    let restored = restore(&file, &other.location(), &|_| {}).await.unwrap();
    assert_eq!(
        (restored.head, restored.identity.log_id),
        (Position(filled_events()), log.identity().log_id)
    );
    assert_sound(&other.location()).await;
    let copy = other.open().await;
    assert_eq!(
        copy.after(Position(0), 1_000).await.unwrap().events,
        log.after(Position(0), 1_000).await.unwrap().events
    );
    copy.close().await;
    log.close().await;
}

async fn a_backup_restores_to_the_other_database(database: Database) {
    let other = match database.backend {
        Backend::Sqlite => Backend::Postgres,
        Backend::Postgres => Backend::Sqlite,
    };
    let Some(other) = Database::make(other).await else {
        return;
    };
    let log = filled(&database).await;
    let file = back_up(&database).await;
    restore(&file, &other.location(), &|_| {}).await.unwrap();
    assert_sound(&other.location()).await;
    let copy = other.open().await;
    assert_eq!(
        copy.after(Position(0), 1_000).await.unwrap().events,
        log.after(Position(0), 1_000).await.unwrap().events
    );
    copy.close().await;
    log.close().await;
    other.remove().await;
}

/// On PostgreSQL their partitions are made while it is restored, after the first rows of the table: one for
/// each of the last months, and one for the years before.
async fn a_backup_of_many_months_is_restored(database: Database) {
    let log = database.open().await.with_fleet().await;
    // one month alone, since a server that hears of many partitions at once looks at them of itself
    let month = 30 * 86_400;
    let ages = (0..1_999).chain((3..120).map(|ago| ago * month));
    let measured: Vec<_> = ages.map(|ago| metrics("d1", -ago, 50.0)).collect();
    let mut head = FLEET_EVENTS;
    for some in measured.chunks(1_000) {
        let outcomes = log.record(some.to_vec()).await;
        head += i64::try_from(some.len()).unwrap();
        assert_eq!(outcomes.last(), Some(&Outcome::Recorded(Position(head))));
    }
    let file = back_up(&database).await;
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let Some(other) = Database::make(backend).await else {
            continue;
        };
        restore(&file, &other.location(), &|_| {}).await.unwrap();
        assert_sound(&other.location()).await;
        other.remove().await;
    }
    log.close().await;
}

async fn a_backup_under_load_is_sound_and_has_what_was_acknowledged(database: Database) {
    let log = filled(&database).await;
    let appenders: Vec<_> = (0..4_u128)
        .map(|appender| {
            let store = log.handle();
            tokio::spawn(async move {
                let mut ordinal = 0;
                // until the log is closed
                while store
                    .append(request(vec![
                        keyed_error(appender * 1_000_000 + ordinal, "e"),
                        error("e"),
                    ]))
                    .await
                    .is_ok()
                {
                    ordinal += 1;
                }
            })
        })
        .collect();
    let mut tail = log.tail(Position(0), None);
    while tail.position() < Position(600) {
        tail.next().await.unwrap();
    }
    let acknowledged = log.record(vec![error("the last one")]).await;
    let [Outcome::Recorded(acknowledged)] = acknowledged[..] else {
        panic!("{acknowledged:?}")
    };
    let file = back_up(&database).await;
    log.close().await;
    for appender in appenders {
        appender.await.unwrap();
    }
    let other = database.empty("restored").await;
    let restored = restore(&file, &other.location(), &|_| {}).await.unwrap();
    assert!(restored.head >= acknowledged);
    let head = database.number("SELECT position FROM log_head").await;
    assert!(restored.head.0 <= head);
    assert_sound(&other.location()).await;
}

async fn a_restore_raises_the_epoch(database: Database) {
    let log = filled(&database).await;
    let file = back_up(&database).await;
    let first = database.empty("first").await;
    let restored = restore(&file, &first.location(), &|_| {}).await.unwrap();
    assert!(restored.identity.epoch > log.identity().epoch);
    let copy = first.open().await;
    assert_eq!(copy.identity(), restored.identity);
    let file = database.dir().join("again.gz");
    copy.backup(&file, &|_| {}).await.unwrap();
    copy.close().await;
    let second = database.empty("second").await;
    let again = restore(&file, &second.location(), &|_| {}).await.unwrap();
    assert!(again.identity.epoch > restored.identity.epoch);
    log.close().await;
}

/// Both go on from the same head, each its own way.
async fn two_restores_of_one_backup_are_told_apart(database: Database) {
    let log = database.open().await.with_fleet().await;
    let file = back_up(&database).await;
    log.close().await;
    let mut identities = Vec::new();
    for name in ["first", "second"] {
        let copy = database.empty(name).await;
        let restored = restore(&file, &copy.location(), &|_| {}).await.unwrap();
        identities.push(restored.identity);
    }
    assert_eq!(identities[0].log_id, identities[1].log_id);
    assert_ne!(identities[0].epoch, identities[1].epoch);
}

async fn a_restored_log_goes_on(database: Database) {
    let log = database.open().await.with_fleet().await;
    let events = vec![keyed_error(1, "a"), metrics("d1", 0, 1.0)];
    log.record(events.clone()).await;
    let file = back_up(&database).await;
    log.close().await;
    let other = database.empty("restored").await;
    restore(&file, &other.location(), &|_| {}).await.unwrap();
    let copy = other.open().await;
    let first = Position(FLEET_EVENTS + 1);
    assert_eq!(
        copy.record(events).await,
        [Outcome::Duplicate(first), Outcome::Duplicate(first.next())]
    );
    let outcomes = copy
        .record(vec![device("d9", "s1"), metrics("d9", 0, 1.0)])
        .await;
    assert_eq!(outcomes[1], Outcome::Recorded(Position(FLEET_EVENTS + 4)));
    copy.close().await;
    assert_sound(&other.location()).await;
}

/// The text of a compressed file, if it is whole.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(bytes).read_to_end(&mut text);
    read.ok().map(|_| text)
}

/// A file with another bit at the end of its first part, from which something else is read or nothing. There
/// are bits that say the same either way, such as where a text is repeated from that stands there twice.
fn flipped(whole: &[u8], part: usize) -> Vec<u8> {
    let text = unpacked(whole);
    let tried = (0..whole.len() / part).rev().map(|index| {
        let mut bytes = whole.to_vec();
        bytes[index] ^= 1;
        bytes
    });
    let mut changed = tried.filter(|bytes| unpacked(bytes) != text);
    changed.next().unwrap()
}

/// Where there is nothing yet, and where this version has made its tables.
async fn a_backup_of_an_older_version_is_brought_up_to_date(database: Database) {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/v1.backup");
    let made = database.empty("made").await;
    made.open().await.close().await;
    for database in [made, database.empty("not_made").await] {
        let location = database.location();
        let restored = restore(golden.as_ref(), &location, &|_| {}).await.unwrap();
        assert_eq!(restored.head, Position(12));
        assert_sound(&location).await;
        let log = database.open().await;
        let goes_on = log.record(vec![error("e")]).await;
        assert_eq!(goes_on, [Outcome::Recorded(Position(13))]);
        log.close().await;
    }
}

async fn a_damaged_backup_is_refused(database: Database) {
    let log = filled(&database).await;
    let file = back_up(&database).await;
    log.close().await;
    let whole = std::fs::read(&file).unwrap();
    let other = database.empty("restored").await;
    let bad = database.dir().join("bad.gz");
    let mut damaged: Vec<Vec<u8>> = [10, 2, 1].map(|part| flipped(&whole, part)).to_vec();
    damaged.extend([
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 1].to_vec(),
    ]);
    damaged.extend([
        Vec::new(),
        b"no backup".to_vec(),
        [&whole[..], &whole[..]].concat(),
    ]);
    for bytes in damaged {
        std::fs::write(&bad, bytes).unwrap();
        let refused = restore(&bad, &other.location(), &|_| {}).await;
        assert!(
            matches!(refused, Err(BackupError::Damaged { .. })),
            "{refused:?}"
        );
    }
    // nothing was left behind that a sound one would be refused for
    restore(&file, &other.location(), &|_| {}).await.unwrap();
}

async fn a_backup_is_not_written_over(database: Database) {
    let log = database.open().await;
    let file = file(&database);
    std::fs::write(&file, "dear").unwrap();
    let refused = log.backup(&file, &|_| {}).await;
    assert!(matches!(refused, Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"dear");
    log.close().await;
}

/// What was begun by a process that was killed is in the way of none, and a link is followed and stays.
async fn a_backup_is_made_after_one_that_was_killed_and_where_a_link_leads(database: Database) {
    let log = database.open().await.with_fleet().await;
    let [link, target] = ["link", "linked.gz"].map(|name| database.dir().join(name));
    std::os::unix::fs::symlink("linked.gz", &link).unwrap();
    let left = database.dir().join("linked.gz.partial");
    std::fs::write(&left, "half").unwrap();
    log.backup(&link, &|_| {}).await.unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(!left.exists());
    log.close().await;
    let other = database.empty("restored").await;
    restore(&target, &other.location(), &|_| {}).await.unwrap();
    assert_sound(&other.location()).await;
}

async fn a_backup_that_fails_leaves_no_file(database: Database) {
    let log = database.open().await;
    database
        .execute("CREATE TABLE odd (position NUMERIC(5, 2) PRIMARY KEY)")
        .await;
    let failed = log.backup(&file(&database), &|_| {}).await;
    assert!(
        matches!(failed, Err(BackupError::Unsupported { .. })),
        "{failed:?}"
    );
    let left = std::fs::read_dir(database.dir()).unwrap();
    let left = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("backup")
    });
    assert_eq!(left.count(), 0);
    log.close().await;
}

async fn a_restore_never_mixes_two_logs(database: Database) {
    let log = filled(&database).await;
    let file = back_up(&database).await;
    let refused = restore(&file, &database.location(), &|_| {}).await;
    assert!(matches!(refused, Err(BackupError::NotEmpty(_))));
    assert_eq!(
        log.record(vec![error("e")]).await,
        [Outcome::Recorded(Position(filled_events() + 1))]
    );
    log.close().await;
}

async fn a_backup_of_a_newer_version_is_refused(database: Database) {
    let log = database.open().await;
    log.close().await;
    let insert = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_new', 0)";
    database.execute(insert).await;
    let refused = backup(&database.location(), &file(&database), &|_| {}).await;
    assert!(matches!(refused, Err(BackupError::Open(_))), "{refused:?}");
}
