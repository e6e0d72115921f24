//! What only one server does at a time: how each work is begun where its lease is held.
//!
//! A work is begun anew each time that its lease is taken: it knows nothing but what the log and the
//! tables hold, as after a start.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Watcher;
use crate::configuration::{Arrivals, Evidence, Keyring};
use crate::event::Position;
use crate::export::{Filler, LakeMetrics};
use crate::exports::{Bounds, Exporter, ExportsArgs, ExportsMetrics, Files, of_log};
use crate::graphql::events_of;
use crate::health::Health;
use crate::held::Held;
use crate::ingest::Ingest;
use crate::jobs::Orchestrator;
use crate::models::{Learner, ModelsMetrics};
use crate::nodes::{Lease, Node, Work};
use crate::places::Place;
use crate::projections::Runner;
use crate::retention::{Eraser, Keeper, RetentionMetrics, tell_homeless};
use crate::store::Store;
use crate::telemetry::chain;
use crate::webhooks::{Mailer, Outbox, WebhookArgs};
use crate::{exports, models, retention};

/// How long a server that starts waits for a place to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What is taken out of the log, and where that lies.
pub(crate) struct Kept {
    /// The files of exports.
    pub(crate) files: Option<Arc<Files>>,
    /// Within which these are kept.
    pub(crate) bounds: Bounds,
    /// The data lake.
    pub(crate) lake: Option<Place>,
    /// Whether what is old can be archived.
    archives: bool,
}

impl Kept {
    /// What is taken out of a log.
    pub(crate) fn of(store: &Store, exports: &ExportsArgs, lake: Option<Place>) -> Self {
        let place = exports.place(store.file().as_deref());
        Self {
            files: of_log(place, store.identity()),
            bounds: exports.bounds(),
            lake,
            archives: store.can_archive(),
        }
    }

    /// Tells whoever starts a server of places in which nothing can be written, and of what was archived if it cannot
    /// be read. It serves all the same: what is recorded needs none of them. Whoever fills a data lake tells of that.
    /// A bucket may take its time to answer: it is looked at beside the start, by tasks of the server until that stops.
    pub(crate) async fn look(
        &self,
        store: &Store,
        (tracker, stop): (&TaskTracker, &CancellationToken),
    ) {
        let looked = store.clone();
        let archive: BoxFuture<'static, ()> =
            Box::pin(async move { looked.look_at_archive().await });
        let mut looks = vec![(store.segments_place().is_none_or(is_folder), archive)];
        for (place, effect) in self.places(store) {
            looks.push((is_folder(&place), Box::pin(warn_unusable(place, effect))));
        }
        let mut at_once = Vec::new();
        for (is_at_once, look) in looks {
            if is_at_once {
                at_once.push(look);
            } else {
                tracker.spawn(stop.clone().run_until_cancelled_owned(look));
            }
        }
        join_all(at_once).await;
    }

    /// What is written into, each with what comes of it if that cannot be.
    fn places(&self, store: &Store) -> Vec<(Place, &'static str)> {
        let exports = self.files.as_deref().map(Files::place);
        let exports = exports.map(|place| (place, "no export is made until its place can be used"));
        let segments = store.segments_place();
        let segments =
            segments.map(|place| (place, "nothing is archived until its place can be used"));
        let places = exports.into_iter().chain(segments);
        places
            .map(|(place, effect)| (place.clone(), effect))
            .collect()
    }

    /// The works that a server can do which takes this out: another is to have those that it cannot.
    pub(crate) fn works(&self) -> Vec<Work> {
        let can = |work: &Work| match work {
            Work::Exports => self.files.is_some(),
            Work::Lake => self.lake.is_some(),
            Work::Projections | Work::Jobs | Work::Alerts | Work::Webhooks | Work::Health => true,
            Work::Evidence | Work::Arrivals | Work::Models => true,
            // whether what is archived can be written anew is looked at again and again
            Work::Erasures => true,
            Work::Retention => self.archives,
        };
        Work::ALL.into_iter().filter(can).collect()
    }
}

/// Whether a place is a folder, which answers at once.
fn is_folder(place: &Place) -> bool {
    place.folder().is_some()
}

/// Warns of a place in which nothing can be written, with what comes of that.
async fn warn_unusable(place: Place, effect: &'static str) {
    match timeout(ANSWERS_WITHIN, place.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = %chain(&error), "{effect}"),
        Err(_) => {
            let seconds = ANSWERS_WITHIN.as_secs();
            let error = format!("{place} did not answer within {seconds} s");
            tracing::warn!(error, "{effect}");
        }
    }
}

/// Begins works as tasks of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Works<'a> {
    pub(crate) node: &'a Node,
    pub(crate) tracker: &'a TaskTracker,
    pub(crate) ingest: &'a Ingest,
}

impl Works<'_> {
    fn once<F: Future<Output = ()> + Send + 'static>(
        self,
        work: Work,
        run: impl Fn(Lease, Ingest) -> F + Send + Sync + 'static,
    ) {
        let ingest = self.ingest.clone();
        let run = move |lease: Lease| {
            let door = lease.door(&ingest);
            run(lease, door)
        };
        self.tracker.spawn(self.node.clone().once(work, run));
    }

    /// Folds the log here, or hears how far another server has.
    pub(crate) fn fold(self, runner: &Runner) {
        let folding = runner.clone();
        self.once(Work::Projections, move |lease, door| {
            let runner = folding.on(door.store().clone());
            runner.run(lease.stopping())
        });
        let hearing = runner.clone();
        let hear = move || hearing.clone().hear();
        let node = self.node.clone();
        self.tracker.spawn(node.meanwhile(Work::Projections, hear));
    }

    /// Follows the log and records what follows from it.
    pub(crate) fn follow(
        self,
        (held, folded): (&Held, &watch::Receiver<Position>),
        offline_after_seconds: u32,
    ) {
        let of_health = folded.clone();
        self.once(Work::Health, move |lease, door| {
            let health = Health::new(door, of_health.clone(), offline_after_seconds);
            health.run(lease.stopping())
        });
        let (held, of_alerts) = (held.clone(), folded.clone());
        self.once(Work::Alerts, move |lease, door| {
            Watcher::new(door, held.clone(), of_alerts.clone()).run(lease.stopping())
        });
        self.once(Work::Jobs, |lease, door| {
            Orchestrator::new(door).run(lease.stopping())
        });
        self.once(Work::Evidence, |lease, door| {
            Evidence::new(door).run(lease.stopping())
        });
        self.once(Work::Arrivals, |lease, door| {
            Arrivals::new(door).run(lease.stopping())
        });
    }

    /// Archives and deletes what is old, and erases what is to be forgotten; tells what is not archived where that
    /// cannot be done, until this server stops.
    pub(crate) fn keep(self, registry: &mut Registry, stop: &CancellationToken) {
        let metrics = RetentionMetrics::default();
        metrics.register(registry);
        let store = self.ingest.store();
        store.faults().register(registry);
        for source in retention::SOURCES.into_iter().chain([exports::SOURCE]) {
            store.faults().introduce(source);
        }
        if !store.can_archive() {
            let telling = tell_homeless(store.clone(), metrics.clone(), stop.clone());
            self.tracker.spawn(telling);
        }
        let of_keeper = metrics.clone();
        self.once(Work::Retention, move |lease, door| {
            Keeper::new(door.store().clone(), of_keeper.clone()).run(lease.stopping())
        });
        self.once(Work::Erasures, move |lease, door| {
            Eraser::new(door.store().clone(), metrics.clone()).run(lease.stopping())
        });
    }

    /// Sums fleets up each night, and learns from them.
    pub(crate) fn learn(self, registry: &mut Registry) {
        let metrics = ModelsMetrics::default();
        metrics.register(registry);
        self.ingest.store().faults().introduce(models::SOURCE);
        self.once(Work::Models, move |lease, door| {
            Learner::new(door.store().clone(), metrics.clone()).run(lease.stopping())
        });
    }

    /// Makes exports if there is a place for their files, and fills the data lake if there is one.
    pub(crate) fn take_out(self, kept: Kept, registry: &mut Registry) {
        let Kept {
            files,
            bounds,
            lake,
            ..
        } = kept;
        let metrics = ExportsMetrics::default();
        metrics.register(registry);
        if let Some(files) = files {
            self.once(Work::Exports, move |lease, door| {
                let store = door.store().clone();
                let exporter = Exporter::new(store, Arc::clone(&files), (events_of, bounds));
                exporter.telling(metrics.clone()).run(lease.stopping())
            });
        }
        let metrics = LakeMetrics::default();
        metrics.register(registry);
        let Some(place) = lake else { return };
        self.once(Work::Lake, move |lease, door| {
            let store = door.store().clone();
            let filler = Filler::new(store, place.clone(), metrics.clone());
            filler.run(lease.stopping())
        });
    }

    /// Sends what becomes of alerts.
    pub(crate) fn send(self, webhooks: WebhookArgs, mailer: Option<Mailer>, keyring: Arc<Keyring>) {
        self.once(Work::Webhooks, move |lease, door| {
            let outbox = Outbox::new(&door, webhooks, mailer.clone(), Arc::clone(&keyring));
            outbox.run(lease.stopping())
        });
    }
}
