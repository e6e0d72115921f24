//! A data lake has each event of its log in exactly one file, wherever a round was broken off.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use homepot_analytics::event::{Event, Position};
use homepot_analytics::export::ExportError;
use homepot_analytics::export::lake::Lake;
use homepot_analytics::kinds::Kind;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{all, read, recorded, without_keys};
use crate::support::{Database, contract, error};

contract![
    a_lake_that_was_broken_off_has_each_event_once,
    a_lake_of_another_log_is_left_alone,
];

/// Takes so many files more, and then breaks: before one is there, or after.
#[derive(Debug)]
struct Breaking {
    files: InMemory,
    left: AtomicI64,
    is_after: bool,
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
        if left < 0 || left == 0 && !self.is_after {
            return Err(broken());
        }
        let put = self.files.put_opts(location, payload, options).await;
        if left == 0 { Err(broken()) } else { put }
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
async fn contents(files: &dyn ObjectStore) -> (BTreeMap<i64, Vec<Event>>, Vec<String>) {
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
    let breaking = Arc::new(Breaking {
        files: InMemory::new(),
        left: AtomicI64::new(0),
        is_after: random.random(),
    });
    let mut reached = Position(0);
    for round in 0..12 {
        // more comes between the break and the next attempt
        log.record(vec![error("more"); 3]).await;
        breaking
            .left
            .store(random.random_range(0..14), Ordering::SeqCst);
        let lake = Lake::new(log.handle(), Arc::<Breaking>::clone(&breaking));
        match lake.round().await {
            Ok(done) => reached = done.position,
            Err(ExportError::Lake(_)) => {}
            Err(other) => panic!("round {round}: {other:?}"),
        }
        let (events, _) = contents(&breaking.files).await;
        assert!(
            events.values().all(|events| events.len() == 1),
            "round {round}"
        );
        let whole = (1..=reached.0).all(|position| events.contains_key(&position));
        assert!(whole, "round {round}: not whole up to {reached:?}");
    }
    breaking.left.store(i64::MAX, Ordering::SeqCst);
    let lake = Lake::new(log.handle(), Arc::<Breaking>::clone(&breaking));
    while lake.round().await.unwrap().events > 0 {}
    let (events, _) = contents(&breaking.files).await;
    let found: Vec<Event> = events.into_values().flatten().collect();
    let mut expected: Vec<Event> = all(&log).await.into_iter().map(without_keys).collect();
    expected.sort_by_key(|event| event.position);
    assert_eq!(found, expected);
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
