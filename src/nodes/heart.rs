//! Says that this server is alive, and keeps its leases: takes those that are free, gives of them to servers that have
//! fewer, and stops the works of those that are lost.

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::DbBackend;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Node, Work};
use crate::store::{Had, Roster, Says, Standing, Store};
use crate::telemetry::chain;
use crate::ticks;

/// How long a server is taken for alive when it has said so.
const LASTS: Duration = Duration::from_secs(5);
/// How often it says so: well below that, so that some may fail.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long the database may take to hear it.
const BEAT_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take to hear that a work was given.
const GIVES_WITHIN: Duration = Duration::from_secs(1);
/// How long before the others take it for dead it stops its works.
const STOPS_BEFORE: Duration = Duration::from_secs(1);
/// What it calls itself where faults are told.
const SOURCE: &str = "the leases";

const _: () = assert!(LASTS.as_secs() > STOPS_BEFORE.as_secs() + BEAT_EVERY.as_secs() * 2);
const _: () = assert!(
    LASTS.as_secs() > STOPS_BEFORE.as_secs() + BEAT_WITHIN.as_secs() + GIVES_WITHIN.as_secs()
);
const _: () =
    assert!(LASTS.as_secs() + BEAT_EVERY.as_secs() * 2 < super::REPLACED_WITHIN.as_secs());

/// Keeps the leases of a server.
#[derive(Debug)]
pub struct Heart {
    node: Node,
    store: Store,
    /// The place among the others, where there may be others.
    roster: Option<Roster>,
    /// The works that were taken, each with its token.
    taken: BTreeMap<Work, i64>,
    /// Those that were to be given to another, each with the token by which it is this server's no more.
    let_go: BTreeMap<Work, i64>,
    /// Until when they are surely this server's.
    sure_until: Instant,
    /// Whether it could not say that it is alive the last time.
    failing: bool,
    /// Whether something was archived the last time.
    is_archived: bool,
}

impl Heart {
    pub(super) async fn begin(node: Node, store: &Store) -> Self {
        let may_be_others = store.backend() == DbBackend::Postgres;
        let card = node.shared.card.clone();
        let roster = may_be_others.then(|| Roster::new(store.clone(), card, LASTS));
        let mut heart = Self {
            node,
            store: store.clone(),
            roster,
            taken: BTreeMap::new(),
            let_go: BTreeMap::new(),
            sure_until: Instant::now(),
            failing: false,
            is_archived: store.has_archived(),
        };
        if heart.roster.is_some() {
            heart.beat().await;
        } else {
            heart.node.shared.metrics.alive.set(1);
            for work in heart.node.able() {
                heart.node.grant(work, None);
            }
        }
        heart
    }

    /// Keeps the leases until it is told to stop, and then gives them back. The works are to have ended by
    /// then.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.roster.is_some() {
            let mut beats = ticks::every(BEAT_EVERY);
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep_until(self.sure_until), if !self.taken.is_empty() => {
                        self.lose_all();
                    }
                    _ = beats.tick() => self.beat().await,
                }
            }
            self.leave().await;
        } else {
            stop.cancelled().await;
        }
        for work in self.node.able() {
            self.node.stop(work);
        }
    }

    /// Says once that this server is alive, and follows what it has then. It is certain of that only as counted from
    /// before it said so. Where there is but one server it says nothing.
    pub async fn beat(&mut self) {
        let says = self.says();
        let Some(roster) = &mut self.roster else {
            return;
        };
        let began = Instant::now();
        let mut until = began + BEAT_WITHIN;
        if !self.taken.is_empty() {
            until = until.min(self.sure_until);
        }
        match timeout_at(until, roster.beat(&says)).await {
            Ok(Ok(had)) => {
                self.sure_until = began + LASTS.saturating_sub(STOPS_BEFORE);
                self.failing = false;
                self.node.shared.metrics.alive.set(had.alive);
                self.is_archived = had.is_archived;
                self.has(&had);
                self.give(had.surplus.as_deref()).await;
            }
            Ok(Err(error)) => self.failed(&chain(&error).to_string()),
            Err(_) => self.failed("the database did not answer in time"),
        }
        if Instant::now() >= self.sure_until {
            self.lose_all();
        }
    }

    /// What it says of the works. What it can do no more it stops.
    fn says(&mut self) -> Says {
        let (mut able, mut unable) = (self.node.able(), Vec::new());
        // who does not know where segments lie cannot write anew what is archived
        if self.is_archived && !self.store.can_archive() {
            able.retain(|work| *work != Work::Erasures);
            unable.push(Work::Erasures);
        }
        // what follows from the log cannot be recorded here any more, and a server of the newer version can
        if self.store.standing() == Standing::Superseded {
            unable.append(&mut able);
        }
        for work in &unable {
            if self.taken.remove(work).is_some() && self.node.stop(*work) {
                tracing::info!(
                    work = work.name(),
                    "this server gives a work back: it cannot do it"
                );
            }
        }
        if self.node.shared.stop.is_cancelled() {
            able.clear();
        }
        let held = self.node.works();
        let wanted = able.iter().filter(|work| !held.contains(work));
        Says {
            works: Work::ALL.map(Work::name).to_vec(),
            wanted: wanted.map(|work| work.name()).collect(),
            able: able.into_iter().map(Work::name).collect(),
            unable: unable.into_iter().map(Work::name).collect(),
        }
    }

    /// Tells why it cannot say that it is alive; in the log once, though it is tried each second.
    fn failed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            let message = "this server cannot say that it is alive, and stops what only one may do";
            tracing::warn!(error = why, "{message} unless it soon can");
        }
        let now = self.store.clock().now();
        self.store.faults().tell(SOURCE, now, why.to_owned());
    }

    /// Follows what the database says that this server has.
    fn has(&mut self, had: &Had) {
        for work in Work::ALL {
            let token = had.works.iter().find(|(name, _)| name == work.name());
            let token = token.map(|(_, token)| *token);
            // what may still be given is this server's when it has taken that anew
            let token = token.filter(|token| self.let_go.get(&work) != Some(token));
            if self.taken.get(&work).copied() == token {
                continue;
            }
            if self.taken.remove(&work).is_some() {
                self.lose(work);
            }
            if let Some(token) = token {
                self.let_go.remove(&work);
                self.taken.insert(work, token);
                self.node.grant(work, Some(token));
                tracing::info!(work = work.name(), token, "this server has taken a work");
            }
        }
    }

    /// Gives a work to a server that has fewer. It stops here before that is said: the other may have it from then on,
    /// also where this server never hears of that.
    async fn give(&mut self, surplus: Option<&str>) {
        let work = Work::ALL
            .into_iter()
            .find(|work| surplus == Some(work.name()));
        let taken = work.and_then(|work| self.taken.remove_entry(&work));
        let (Some(roster), Some((work, token))) = (&mut self.roster, taken) else {
            return;
        };
        self.let_go.insert(work, token);
        self.node.stop(work);
        let work = work.name();
        let error = match timeout(GIVES_WITHIN, roster.give(work, token)).await {
            Ok(Ok(true)) => {
                tracing::info!(work, "this server has given a work to one that had fewer");
                return;
            }
            // the other has as many by now, and this server takes it anew
            Ok(Ok(false)) => return,
            Ok(Err(error)) => chain(&error).to_string(),
            Err(_) => "the database did not answer in time".to_owned(),
        };
        tracing::warn!(
            work,
            error,
            "this server does not know whether it has given a work to another, and does it no more unless it takes \
             that anew"
        );
    }

    fn lose(&self, work: Work) {
        if self.node.stop(work) {
            self.node.shared.metrics.lost.inc();
            tracing::warn!(work = work.name(), "this server has lost a work");
        }
    }

    fn lose_all(&mut self) {
        for work in std::mem::take(&mut self.taken).into_keys() {
            self.lose(work);
        }
    }

    async fn leave(&mut self) {
        let Some(roster) = &mut self.roster else {
            return;
        };
        let left = timeout(BEAT_WITHIN, roster.leave()).await;
        let error = match left {
            Ok(Ok(())) => {
                tracing::info!(
                    works = self.taken.len(),
                    "this server has given its works back"
                );
                return;
            }
            Ok(Err(error)) => chain(&error).to_string(),
            Err(_) => "the database did not answer in time".to_owned(),
        };
        tracing::warn!(
            error,
            "the works are not given back; others take them when the leases end"
        );
    }
}
