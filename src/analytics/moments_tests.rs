//! Tests of what is read of a moment of the log while its segments are replaced, and when one is lost.

use std::collections::BTreeSet;

use super::question::{Question, Scope};
use super::read::{Moments, Read, ReadError};
use super::subject::Subject;
use crate::event::{Instant, Provenance};
use crate::kinds::{Draft, Kind};
use crate::store::{Options, Request, Store};

const KIND: Kind = Kind::UserActivity;
const MINUTE: i64 = 60_000_000;

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

/// Records what somebody did.
async fn recorded(store: &Store, then: &str) {
    let draft = Draft::new(KIND, at(then), Provenance::Real);
    let column = entity::user_activity::Column::ActivityType;
    let event = draft.set(column, "PAGE_VIEW").finish().unwrap();
    let request = Request {
        events: vec![event],
        expect: Vec::new(),
        registrations: Vec::new(),
        told: None,
    };
    store.append(request).await.unwrap();
}

/// The same, which is archived as a segment of its own.
async fn archived(store: &Store, then: &str) {
    recorded(store, then).await;
    let (before, head) = (at("2025-02-01T00:00:00Z"), store.committed_head().await);
    let archived = store.archive(KIND, before, head.unwrap()).await.unwrap();
    assert_eq!(archived.map(|archived| archived.events), Some(1));
}

/// What happened within an hour, in minutes: those are made of single events.
async fn by_minutes(store: &Store) -> Question {
    let subject = Subject {
        kind: KIND,
        measures: vec![None],
        scope: Scope {
            provenances: Some(BTreeSet::from([Provenance::Real.code()])),
            ..Scope::default()
        },
        by: Vec::new(),
        percentiles: false,
    };
    let from = at("2025-01-05T10:00:00Z").0;
    let ends: Vec<i64> = (0..=60).map(|minute| from + minute * MINUTE).collect();
    let range = (from, from + 60 * MINUTE);
    subject.question(store, range, ends).await.unwrap()
}

fn events(read: &Read) -> u64 {
    let rows = read.groups.rows.values().flatten().flatten();
    rows.map(|row| row.events).sum()
}

#[tokio::test]
async fn what_is_replaced_meanwhile_is_read_of_a_later_moment_and_what_is_lost_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("log.db").display());
    let (store, tasks) = Store::open(Options::of_test(url, at("2026-11-23T12:00:00Z")))
        .await
        .unwrap();
    archived(&store, "2025-01-05T10:10:00Z").await;
    archived(&store, "2025-01-05T10:20:00Z").await;
    let (question, allowance) = (by_minutes(&store).await, Store::own_allowance());

    let mut moments = Moments::of(&store);
    let moment = moments.next().await.unwrap();
    for small in store.small_segments(KIND, None).await.unwrap() {
        assert_eq!(store.put_together(&small).await.unwrap(), 2);
    }
    let read = moment.read(&question, &allowance).await;
    assert!(matches!(&read, Err(ReadError::Store(error)) if error.is_of_missing_segment()));
    assert!(moments.settled(moment, read).await.unwrap().is_none());
    let moment = moments.next().await.unwrap();
    let read = moment.read(&question, &allowance).await;
    let read = moments.settled(moment, read).await.unwrap();
    assert_eq!(read.as_ref().map(events), Some(2));

    archived(&store, "2025-01-05T10:30:00Z").await;
    std::fs::remove_dir_all(dir.path().join("log.db.segments")).unwrap();
    let read = super::read::read(&store, &question, &allowance).await;
    assert!(matches!(read, Err(ReadError::Store(error)) if error.is_of_missing_segment()));
    tasks.stop().await;
}

#[tokio::test]
async fn what_is_compared_is_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("log.db").display());
    let (store, tasks) = Store::open(Options::of_test(url, at("2026-11-23T12:00:00Z")))
        .await
        .unwrap();
    recorded(&store, "2025-01-05T09:10:00Z").await;
    recorded(&store, "2025-01-05T10:10:00Z").await;
    let (question, allowance) = (by_minutes(&store).await, Store::own_allowance());
    let hour = 60 * MINUTE;
    let ends: Vec<i64> = question.ends.iter().map(|end| end - hour).collect();
    let before = (question.range.0 - hour, question.range.0);
    let of = (&question, Some((before, &*ends)));

    let moment = Moments::of(&store).next().await.unwrap();
    recorded(&store, "2025-01-05T09:20:00Z").await;
    let (now, earlier) = moment.compared(of, &allowance).await.unwrap();
    moment.end().await.unwrap();
    let (_, earlier) = earlier.unwrap();
    assert_eq!((events(&now), events(&earlier)), (1, 1));
    assert_eq!(now.position, earlier.position);

    let (now, earlier) = super::read::compared(&store, of, &allowance).await.unwrap();
    let (_, earlier) = earlier.unwrap();
    assert_eq!((events(&now), events(&earlier)), (1, 2));
    assert_eq!(now.position, earlier.position);
    tasks.stop().await;
}
