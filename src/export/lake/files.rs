//! The files of a lake: those of a round are written, and how each is written that is never written over.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Error as StoreFailure, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};

use super::Lake;
use super::said::{Entry, file_of};
use crate::columnar::{self, File, Form, Layout, Table};
use crate::event::{Event, Position};
use crate::export::ExportError;
use crate::export::events::masked;
use crate::kinds::Kind;
use crate::store::sha256_of;

/// What the folders of kinds and of days begin with.
const KIND: &str = "kind=";
const DAY: &str = "day=";

impl Lake {
    /// Writes the files of a round, each of a kind and a day.
    pub(super) async fn write(
        &self,
        events: Vec<Arc<Event>>,
        round: (Position, Position),
    ) -> Result<Vec<Entry>, ExportError> {
        let mut parts: BTreeMap<(&'static str, NaiveDate), Table> = BTreeMap::new();
        for event in &events {
            let kind = event.fact.kind;
            let day = event.fact.occurred_at.date_time().date_naive();
            let part = parts.entry((kind.spec().table, day));
            let part = part.or_insert_with(|| Table::new(layout_of(kind)));
            part.push(&masked(event));
        }
        drop(events);
        let mut entries = Vec::with_capacity(parts.len());
        for ((table, day), part) in parts {
            let path = format!("{KIND}{table}/{DAY}{day}/{}", file_of(round));
            let (kind, events) = (part.layout().kind, part.len());
            let made = tokio::task::spawn_blocking(move || bytes_of(&part));
            let bytes = made.await.map_err(std::io::Error::other)??;
            let (events, bytes) = match self.create(&path, bytes.clone()).await? {
                None => (events, bytes),
                Some(there) => (events_of(&path, (kind, there.clone()))?, there),
            };
            entries.push(entry((path, kind), day.to_string(), (events, &bytes)));
        }
        Ok(entries)
    }

    /// Adds the files that are there of a round and were not written again: what is in them was deleted from the
    /// log since.
    pub(super) async fn add_left(
        &self,
        entries: &mut Vec<Entry>,
        round: (Position, Position),
    ) -> Result<(), ExportError> {
        let known: HashSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
        let name = file_of(round);
        let listed: Vec<_> = self
            .files
            .list(None)
            .try_filter(|file| std::future::ready(file.location.filename() == Some(name.as_str())))
            .try_collect()
            .await?;
        for file in listed {
            let path = file.location.to_string();
            let Some((kind, day)) = placed(&path).filter(|_| !known.contains(&path)) else {
                continue;
            };
            let bytes = self.files.get(&file.location).await?.bytes().await?;
            let events = events_of(&path, (kind, bytes.clone()))?;
            entries.push(entry((path, kind), day, (events, &bytes)));
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(())
    }

    /// What is in a file, if it is there, and of which version that is.
    pub(super) async fn read(
        &self,
        name: &str,
    ) -> Result<Option<(Bytes, UpdateVersion)>, ExportError> {
        let found = match self.files.get(&Path::from(name)).await {
            Err(StoreFailure::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        Ok(Some((found.bytes().await?, version)))
    }

    /// Puts a file in its place, at once, unless there is one; then answers what is in that.
    pub(super) async fn create(
        &self,
        name: &str,
        bytes: Bytes,
    ) -> Result<Option<Bytes>, ExportError> {
        match self.put(name, bytes, PutMode::Create).await {
            Err(StoreFailure::AlreadyExists { .. }) => Ok(Some(
                self.files.get(&Path::from(name)).await?.bytes().await?,
            )),
            put => Ok(put.map(|()| None)?),
        }
    }

    pub(super) async fn put(
        &self,
        name: &str,
        bytes: Bytes,
        mode: PutMode,
    ) -> Result<(), StoreFailure> {
        let (path, payload) = (Path::from(name), PutPayload::from_bytes(bytes));
        let put = self.files.put_opts(&path, payload, PutOptions::from(mode));
        put.await.map(drop)
    }
}

/// Of which kind and which day a file is, by its path.
fn placed(path: &str) -> Option<(Kind, String)> {
    let mut parts = path.split('/');
    let table = parts.next()?.strip_prefix(KIND)?;
    let day = parts.next()?.strip_prefix(DAY)?;
    let kind = Kind::all().find(|kind| kind.spec().table == table)?;
    Some((kind, day.to_owned()))
}

fn entry((path, kind): (String, Kind), day: String, (events, bytes): (usize, &Bytes)) -> Entry {
    Entry {
        path,
        kind: kind.spec().table,
        day,
        events,
        bytes: bytes.len(),
        sha256: sha256_of(bytes),
    }
}

fn layout_of(kind: Kind) -> Arc<Layout> {
    Arc::new(Layout::of(kind, Form::Export))
}

fn bytes_of(table: &Table) -> Result<Bytes, ExportError> {
    let rows = table.sorted();
    let mut bytes = Vec::new();
    columnar::write(table, &rows, &mut bytes)?;
    Ok(bytes.into())
}

/// How many events a file has that is there.
fn events_of(path: &str, (kind, bytes): (Kind, Bytes)) -> Result<usize, ExportError> {
    let file = File::open(bytes, layout_of(kind)).map_err(|source| ExportError::Damaged {
        file: path.to_owned(),
        source,
    })?;
    Ok((0..file.groups()).map(|group| file.rows(group)).sum())
}
