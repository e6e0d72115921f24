//! A data lake has each event of its log in exactly one file, wherever a round was broken off, and whoever else
//! fills it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use homepot_analytics::event::{Event, Position};
use homepot_analytics::export::ExportError;
use homepot_analytics::export::lake::{Lake, sweep};
use homepot_analytics::kinds::Kind;
use homepot_analytics::places::Place;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::{all, read, recorded, without_keys};
use crate::support::{Database, TestLog, contract, error};

contract![
    a_lake_that_was_broken_off_has_each_event_once,
    a_lake_that_two_fill_has_each_event_once,
    what_was_half_written_into_a_lake_is_removed_and_nothing_else,
    a_lake_of_another_log_is_left_alone,
];

/// Takes so many files more, and then breaks, or waits.
#[derive(Debug)]
pub(super) struct Breaking {
    files: Arc<dyn ObjectStore>,
    left: AtomicI64,
    then: Then,
}

impl Breaking {
    /// One of no files yet, that takes so many.
    pub(super) fn new(left: i64, then: Then) -> Arc<Self> {
        Arc::new(Self {
            files: Arc::new(InMemory::new()),
            left: AtomicI64::new(left),
            then,
        })
    }

    /// Waits until somebody stalls there.
    pub(super) async fn stalls(&self) {
        let Then::Wait { waits, .. } = &self.then else {
            unreachable!("nobody waits there")
        };
        waits.notified().await;
    }

    /// Takes so many from now on.
    pub(super) fn takes(&self, left: i64) {
        self.left.store(left, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(super) enum Then {
    /// Fails before the file is there, or after.
    Break { is_after: bool },
    /// Tells that it waits, until it is told to go on: what stalls there.
    Wait { waits: Notify, goes_on: Notify },
    /// Writes over what is there, whatever it is told.
    Overwrite,
    /// Knows no conditions.
    Refuse,
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store that breaks")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic {
        store: "test",
        source: "broken".into(),
    }
}

#[async_trait]
impl ObjectStore for Breaking {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        let put = || {
            self.files
                .put_opts(location, payload.clone(), options.clone())
        };
        match &self.then {
            Then::Break { is_after } if left < 0 || left == 0 && !is_after => Err(broken()),
            Then::Break { .. } if left == 0 => put().await.and(Err(broken())),
            Then::Wait { waits, goes_on } if left == 0 => {
                waits.notify_one();
                goes_on.notified().await;
                put().await
            }
            Then::Overwrite => {
                self.files
                    .put_opts(location, payload, PutOptions::default())
                    .await
            }
            Then::Refuse if options.mode != PutMode::Overwrite => {
                Err(object_store::Error::NotImplemented {
                    operation: "put".to_owned(),
                    implementer: "test".to_owned(),
                })
            }
            Then::Break { .. } | Then::Wait { .. } | Then::Refuse => put().await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// What lies in a lake: the events by position, and the names of the files.
pub(super) async fn contents(files: &dyn ObjectStore) -> (BTreeMap<i64, Vec<Event>>, Vec<String>) {
    let (mut events, mut names) = (BTreeMap::<i64, Vec<Event>>::new(), Vec::new());
    let mut listed = files.list(None);
    while let Some(file) = listed.next().await {
        let path = file.unwrap().location;
        let name = path.to_string();
        if let Some(rest) = name.strip_prefix("kind=") {
            let table = rest.split('/').next().unwrap();
            let kind = Kind::all().find(|kind| kind.spec().table == table).unwrap();
            let bytes = files.get(&path).await.unwrap().bytes().await.unwrap();
            for event in read(&bytes, kind) {
                let day = event.fact.occurred_at.date_time().date_naive();
                assert!(name.contains(&format!("/day={day}/")), "{name}");
                events.entry(event.position.0).or_default().push(event);
            }
        }
        names.push(name);
    }
    (events, names)
}

async fn a_lake_that_was_broken_off_has_each_event_once(database: Database) {
    let log = recorded(&database, 9).await;
    let mut random = StdRng::seed_from_u64(11);
    let is_after = random.random();
    let breaking = Breaking::new(0, Then::Break { is_after });
    let mut reached = Position(0);
    for round in 0..12 {
        // more comes between the break and the next attempt
        log.record(vec![error("more"); 3]).await;
        breaking.takes(random.random_range(0..14));
        let lake = Lake::new(log.handle(), Arc::<Breaking>::clone(&breaking));
        match lake.round().await {
            Ok(done) => reached = done.position,
            Err(ExportError::Lake(_)) => {}
            Err(other) => panic!("round {round}: {other:?}"),
        }
        let (events, _) = contents(&*breaking.files).await;
        assert!(
            events.values().all(|events| events.len() == 1),
            "round {round}"
        );
        let whole = (1..=reached.0).all(|position| events.contains_key(&position));
        assert!(whole, "round {round}: not whole up to {reached:?}");
    }
    breaking.takes(i64::MAX);
    let lake = Lake::new(log.handle(), Arc::<Breaking>::clone(&breaking));
    while lake.round().await.unwrap().events > 0 {}
    is_the_log(&log, &*breaking.files).await;
    log.close().await;
}

/// A lake has each event once, and its manifests tell of its files as they are.
async fn is_the_log(log: &TestLog, files: &dyn ObjectStore) {
    let (events, names) = contents(files).await;
    let twice = events.values().find(|events| events.len() != 1);
    assert!(twice.is_none(), "{twice:?}");
    let found: Vec<Event> = events.into_values().flatten().collect();
    let mut expected: Vec<Event> = all(log).await.into_iter().map(without_keys).collect();
    expected.sort_by_key(|event| event.position);
    assert_eq!(found, expected);
    let read = async |name: &str| {
        let found = files.get(&Path::from(name)).await.unwrap();
        found.bytes().await.unwrap()
    };
    let mut told = Vec::new();
    for name in names.iter().filter(|name| name.starts_with("manifests/")) {
        let manifest: Value = serde_json::from_slice(&read(name).await).unwrap();
        for file in manifest["files"].as_array().unwrap() {
            let path = file["path"].as_str().unwrap();
            assert_eq!(file["sha256"], sha256(&read(path).await), "{path}");
            told.push(path.to_owned());
        }
    }
    let mut there: Vec<String> = names;
    there.retain(|name| name.starts_with("kind="));
    told.sort_unstable();
    there.sort_unstable();
    assert_eq!(told, there);
    let state: Value = serde_json::from_slice(&read("state.json").await).unwrap();
    assert_eq!(state["position"], log.head().0);
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let sum = Sha256::digest(bytes);
    sum.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(super) async fn fill(lake: &Lake) {
    while lake.round().await.unwrap().events > 0 {}
}

/// One stalls before each of the files that it puts in turn, has lost the lake to another that goes on with it,
/// and wakes up.
async fn a_lake_that_two_fill_has_each_event_once(database: Database) {
    let log = database.open().await.with_fleet().await;
    let folder = tempfile::tempdir().unwrap();
    for in_folder in [true, false] {
        let mut before = 0;
        loop {
            let files: Arc<dyn ObjectStore> = if in_folder {
                let folder = folder.path().join(before.to_string());
                std::fs::create_dir(&folder).unwrap();
                Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap())
            } else {
                Arc::new(InMemory::new())
            };
            let stalling = Arc::new(Breaking {
                files: Arc::clone(&files),
                left: AtomicI64::new(before),
                then: Then::Wait {
                    waits: Notify::new(),
                    goes_on: Notify::new(),
                },
            });
            let Then::Wait { goes_on, .. } = &stalling.then else {
                unreachable!()
            };
            let one = Lake::new(log.handle(), Arc::<Breaking>::clone(&stalling));
            let stalled = tokio::spawn(async move {
                let round = one.round().await;
                (one, round)
            });
            tokio::select! {
                () = stalling.stalls() => {}
                () = stalled_is_over(&stalled) => break,
            }
            // the other has more to bring
            log.record(vec![error("more"); 3]).await;
            let other = Lake::new(log.handle(), Arc::clone(&files));
            fill(&other).await;
            log.record(vec![error("and more"); 3]).await;
            fill(&other).await;
            goes_on.notify_one();
            let (one, woken) = stalled.await.unwrap();
            woken.unwrap();
            for lake in [&other, &one] {
                log.record(vec![error("after that")]).await;
                fill(lake).await;
            }
            is_the_log(&log, &*files).await;
            before += 1;
        }
        // where it ends, its files, its manifest, and how far the lake is
        assert!(before > 4, "it put {before} files");
    }
    log.close().await;
}

async fn stalled_is_over<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
}

async fn what_was_half_written_into_a_lake_is_removed_and_nothing_else(database: Database) {
    let log = recorded(&database, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().to_owned());
    let lake = Lake::new(log.handle(), place.open().await.unwrap());
    fill(&lake).await;
    let (_, names) = contents(&*place.open().await.unwrap()).await;
    let day = names.iter().find(|name| name.starts_with("kind=")).unwrap();
    let half = [
        format!("{day}#1"),
        format!(
            "{}#2",
            names
                .iter()
                .find(|name| name.starts_with("rounds/"))
                .unwrap()
        ),
        "state.json#1".to_owned(),
    ];
    let others = ["notes#1", "others/notes#1"];
    for name in half.iter().map(String::as_str).chain(others) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "half").unwrap();
    }
    assert_eq!(sweep(&place).await.unwrap(), half.len());
    assert!(half.iter().all(|name| !folder.path().join(name).exists()));
    assert!(others.iter().all(|name| folder.path().join(name).exists()));
    is_the_log(&log, &*place.open().await.unwrap()).await;
    log.close().await;
}

async fn a_lake_of_another_log_is_left_alone(database: Database) {
    let log = database.open().await;
    log.record(vec![error("a")]).await;
    let files = Arc::new(InMemory::new());
    let other = r#"{"version":1,"logId":"x","epoch":1,"position":5}"#;
    let state = Path::from("state.json");
    files.put(&state, PutPayload::from(other)).await.unwrap();
    let lake = Lake::new(log.handle(), Arc::<InMemory>::clone(&files));
    let refused = lake.round().await;
    assert!(
        matches!(refused, Err(ExportError::OtherLog { .. })),
        "{refused:?}"
    );
    assert_eq!(contents(&*files).await.1, ["state.json"]);

    files.put(&state, PutPayload::from("{")).await.unwrap();
    let refused = lake.round().await;
    assert!(
        matches!(refused, Err(ExportError::State { .. })),
        "{refused:?}"
    );
    log.close().await;
}
