//! Databases and backups of earlier versions are opened by this one.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use homepot_analytics::app;
use homepot_analytics::clock::Clock;
use homepot_analytics::config::LimitArgs;
use homepot_analytics::event::{Position, Provenance};
use homepot_analytics::ingest::{Ingest, Patience};
use homepot_analytics::kinds::{parse_any, to_json};
use homepot_analytics::projections;
use homepot_analytics::store::{Location, Outcome, Store, restore, verify};

/// Events of `events.jsonl`.
const EVENTS: i64 = 12;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden")
}

fn files(ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = all
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(ending)))
        .collect();
    assert!(!found.is_empty(), "there is no golden file {ending}");
    found
}

fn at(file: &Path) -> Location {
    Location {
        url: format!("sqlite://{}", file.display()),
        readers_max: 2,
        reads_within: None,
        create: true,
        ..Location::default()
    }
}

/// The log holds what the golden file was made of, is sound, and goes on.
async fn holds_the_golden_events(location: Location) {
    let limits = LimitArgs::default();
    let (store, tasks) = app::open(location.clone(), &limits, Clock::system())
        .await
        .unwrap();
    let slice = store.after(Position::START, 100).await.unwrap();
    let text = std::fs::read_to_string(folder().join("events.jsonl")).unwrap();
    let wanted: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(i64::try_from(slice.events.len()).unwrap(), EVENTS);
    for (event, wanted) in slice.events.iter().zip(&wanted) {
        let shown = to_json(event);
        let (kind, fields) = wanted.as_object().unwrap().iter().next().unwrap();
        for (name, value) in fields.as_object().unwrap() {
            let times = ["openTime", "closeTime", "peakHours", "maintenanceWindows"];
            if !times.contains(&name.as_str()) {
                assert_eq!(&shown[kind][name], value, "{kind}.{name}");
            }
        }
    }
    takes_them_as_repeats(&store, &wanted).await;
    records_on(&store).await;
    tasks.stop().await;
    let verified = verify(&location, &projections::all(), &|_| ())
        .await
        .unwrap();
    assert!(verified.is_sound(), "{:?}", verified.findings);
}

/// Also when a kind fills in by now what it did not then.
async fn takes_them_as_repeats(store: &Store, golden: &[serde_json::Value]) {
    let ingest = Ingest::new(store.clone());
    let given = golden
        .iter()
        .map(|event| (None, parse_any(event, store.clock().now())));
    let appended = ingest
        .record(given.collect(), None, Patience::None)
        .await
        .unwrap();
    for (position, (outcome, event)) in (1..).zip(appended.outcomes.iter().zip(golden)) {
        assert_eq!(*outcome, Outcome::Duplicate(Position(position)), "{event}");
    }
}

async fn records_on(store: &Store) {
    use entity::device_metrics::Column;
    use homepot_analytics::kinds::{Draft, Kind};
    let now = store.clock().now();
    let event =
        Draft::new(Kind::DeviceMetrics, now, Provenance::Real).set(Column::DeviceKey, "till-1");
    let events = vec![event.finish().unwrap()];
    let request = homepot_analytics::store::Request {
        events,
        expect: Vec::new(),
        registrations: Vec::new(),
        told: None,
    };
    let appended = store.append(request).await.unwrap();
    let next = Outcome::Recorded(Position(EVENTS + 1));
    assert_eq!(appended.outcomes, [next]);
}

#[tokio::test]
async fn databases_of_earlier_versions_are_opened() {
    for file in files(".db.gz") {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let packed = std::fs::File::open(&file).unwrap();
        GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        let copy = dir.path().join("golden.db");
        std::fs::write(&copy, bytes).unwrap();
        holds_the_golden_events(at(&copy)).await;
    }
}

#[tokio::test]
async fn backups_of_earlier_versions_are_restored() {
    for file in files(".backup") {
        let dir = tempfile::tempdir().unwrap();
        let location = at(&dir.path().join("restored.db"));
        restore(&file, &location, &|_| ()).await.unwrap();
        holds_the_golden_events(location).await;
    }
}
