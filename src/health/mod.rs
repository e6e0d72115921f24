//! Sees to it that life and silence become states: a device that reports and of which no state was
//! ever told is ONLINE; one that is not heard of any more is OFFLINE, and ONLINE when it returns. A
//! state is recorded only when it really changes.
//!
//! Only devices that report live are watched: history that is imported says nothing of now. While
//! the log cannot be read or written, what was found waits and is tried again; nothing is lost.

mod watch;

use std::collections::HashMap;
use std::time::Duration;

use entity::device_status;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};
use tokio::sync::watch as channel;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Instant, Position};
use crate::history::states;
use crate::ingest::{FUTURE_MAX_MS, Ingest, Patience};
use crate::kinds::Kind;
use crate::store::{
    AppendError, Appended, Columns, Doing, EVENTS_MAX, Outcome, Place, Store, StoreError,
};
use crate::telemetry::chain;
use crate::ticks;
use watch::{Known, Watch};

/// How often the timers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long after a failed read it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Devices that were heard of this long before a start are watched from it on; those that are not
/// OFFLINE, however long ago that was.
const REMEMBERED_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// What the health check calls itself where faults are told.
const SOURCE: &str = "the health check";

/// Watches over the silence of devices.
#[derive(Debug)]
pub struct Health {
    ingest: Ingest,
    watch: Watch,
    /// How far the projections have folded the log.
    folded: channel::Receiver<Position>,
    /// Changes that are recorded at once: fewer after a failure, so that one that cannot be
    /// recorded is found and the others are not held up by it.
    at_once: usize,
    /// Whether the last attempt to record failed.
    failing: bool,
    /// Whether the log has times that are ahead of the clock.
    clock_behind: bool,
}

impl Health {
    /// Watches through a door; a device is silent after this many seconds at least. It begins when
    /// the projections have folded what the log holds then.
    #[must_use]
    pub fn new(
        ingest: Ingest,
        folded: channel::Receiver<Position>,
        offline_after_seconds: u32,
    ) -> Self {
        Self {
            folded,
            ingest,
            watch: Watch::new(i64::from(offline_after_seconds) * 1_000),
            at_once: EVENTS_MAX,
            failing: false,
            clock_behind: false,
        }
    }

    /// Watches until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        let store = self.ingest.store().clone();
        let head = store.head();
        if self
            .folded
            .wait_for(|folded| *folded >= head)
            .await
            .is_err()
        {
            // nobody folds any more, since the server stops
            return;
        }
        while let Err(error) = self.remember().await {
            self.failed(&error).await;
        }
        let kinds = &[Kind::DeviceMetrics, Kind::DeviceStateChange];
        let mut tail = store.tail(head, Some(kinds));
        let mut looks = ticks::every(LOOK_EVERY);
        let mut look: Option<(Instant, Position)> = None;
        loop {
            tokio::select! {
                events = tail.next_looked_at() => match events {
                    Ok(events) => self.hear(&events),
                    Err(error) => self.failed(&error).await,
                },
                _ = looks.tick() => look = Some((self.ingest.clock().now(), store.head())),
            }
            // silence is judged when all that was recorded until then has been heard
            let looked = look.take_if(|(_, head)| tail.position() >= *head);
            if let Some((now, _)) = looked {
                if let Err(error) = self.meet(now).await {
                    self.failed(&error).await;
                }
                self.watch.look(now);
            }
            if looked.is_some() || !self.failing {
                self.record().await;
            }
        }
    }

    async fn failed(&self, error: &StoreError) {
        let error = chain(error).to_string();
        tracing::warn!(error, "the health check cannot read, will try again");
        let now = self.ingest.clock().now();
        self.ingest.store().faults().tell(SOURCE, now, error);
        sleep(RETRY_AFTER).await;
    }

    /// Reads what states were reported of the devices that are new.
    async fn meet(&mut self, now: Instant) -> Result<(), StoreError> {
        loop {
            let keys = self.watch.new_ones(now, EVENTS_MAX);
            if keys.is_empty() {
                return Ok(());
            }
            let reported = states::newest(self.ingest.store(), &keys).await?;
            self.watch.know(keys.len(), &reported);
        }
    }

    /// Begins with the devices that were alive not long ago, or are taken to be.
    async fn remember(&mut self) -> Result<(), StoreError> {
        let store = self.ingest.store().clone();
        let now = self.ingest.clock().now();
        let since = now.plus_ms(-REMEMBERED_MS).0;
        let rows = device_status::Entity::find()
            .filter(
                Condition::any()
                    .add(device_status::Column::LastSeenAt.gt(since))
                    .add(device_status::Column::State.ne("OFFLINE")),
            )
            .all(store.readers())
            .await;
        let rows = rows.doing("read the state of devices")?;
        for rows in rows.chunks(EVENTS_MAX) {
            let placed = rows.iter().filter_map(|row| Some((place(row)?, row)));
            let placed: HashMap<Place, &device_status::Model> = placed.collect();
            let places: Vec<Place> = placed.keys().copied().collect();
            let kind = (Kind::DeviceMetrics, Columns::SMALL);
            for event in store.at(kind, &places, &Store::own_allowance()).await? {
                let Some(row) = placed.get(&Place::of(&event)) else {
                    continue;
                };
                let known = Known {
                    heard_at: row.last_seen_at.map_or(now, Instant),
                    state: row.state.as_deref(),
                    state_at: row.state_at.map_or(Instant::OLDEST, Instant),
                };
                self.watch.remember(&event, known, now);
            }
        }
        Ok(())
    }

    fn hear(&mut self, events: &[std::sync::Arc<Event>]) {
        let now = self.ingest.clock().now();
        for event in events {
            self.watch.hear(event, now);
        }
        let Some(last) = events.last() else { return };
        let behind = last.recorded_at > now.plus_ms(FUTURE_MAX_MS);
        if behind && !self.clock_behind {
            let message = format!(
                "the clock of this server says {now}, but the log was written as late as {}: \
                 one of them was wrong",
                last.recorded_at
            );
            tracing::warn!("{message}");
            self.ingest.store().faults().tell("the clock", now, message);
        }
        self.clock_behind = behind;
    }

    /// Records what waits, in requests that the log takes. What fails waits for the next look.
    async fn record(&mut self) {
        loop {
            let events = self.watch.unrecorded(self.at_once);
            let count = events.len();
            if count == 0 {
                return;
            }
            let given = events
                .into_iter()
                .map(|event| (Some(Kind::DeviceStateChange), Ok(event)))
                .collect();
            match self.ingest.record(given, None, Patience::Unlimited).await {
                Ok(appended) => self.recorded(count, &appended),
                Err(error) => return self.not_recorded(count, &error),
            }
        }
    }

    fn recorded(&mut self, count: usize, appended: &Appended) {
        self.failing = false;
        self.at_once = self.at_once.saturating_mul(2).min(EVENTS_MAX);
        self.watch.recorded(count);
        for outcome in &appended.outcomes {
            if let Outcome::Rejected(refusal) = outcome {
                tracing::warn!(refusal.message, "a change of state was refused");
            }
        }
    }

    fn not_recorded(&mut self, count: usize, error: &AppendError) {
        if !self.failing {
            let error = chain(error).to_string();
            let message = "cannot record that devices are silent or have returned, will try again";
            tracing::warn!(error, "{message}");
        }
        self.failing = true;
        self.at_once = (count / 2).max(1);
        if count == 1 {
            self.watch.put_first_last();
        }
    }
}

/// The newest metrics of a device.
fn place(row: &device_status::Model) -> Option<Place> {
    Some(Place {
        position: Position(row.metrics_position?),
        occurred_at: Instant(row.metrics_at?),
    })
}
