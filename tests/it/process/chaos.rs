//! Two and three servers on one PostgreSQL, killed, frozen and told to stop at random while clients
//! record with and follow whichever answers: nothing is lost, and nothing is there twice.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use homepot_analytics::event::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cluster::{Cluster, follow_any, record_with_any, until};
use super::database::Database;
use super::ledger::Ledger;
use super::program::DEADLINE;
use super::workload::{Keyed, Maker, Request};

/// Clients that record, and clients that follow.
const RECORDERS: u64 = 6;
const FOLLOWERS: u64 = 3;

fn rounds() -> u32 {
    if crate::support::is_long() { 20 } else { 2 }
}

/// A run can be repeated with the seed that it printed, as far as the machine lets it.
fn seed() -> u64 {
    let given = std::env::var("HOMEPOT_TEST_SEED").ok();
    given.map_or_else(rand::random, |seed| {
        seed.parse().expect("a seed is a number")
    })
}

/// Clients at work on a cluster.
struct Chaos {
    cluster: Cluster,
    rng: StdRng,
    recorders: Vec<JoinHandle<Vec<Request>>>,
    followers: Vec<(JoinHandle<()>, watch::Receiver<i64>)>,
    answered: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
}

impl Chaos {
    async fn begin(database: Database, servers: usize) -> Self {
        let seed = seed();
        println!("seed {seed}: repeat it with HOMEPOT_TEST_SEED={seed}");
        let cluster = Cluster::start(database, servers);
        let first = cluster.register().await;
        let now = Instant::parse("2026-01-01T00:00:00Z").unwrap().0;
        let now = Arc::new(AtomicI64::new(now));
        let (acknowledged, answered) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let recorders = (0..RECORDERS).map(|client| {
            let maker = Maker::new(seed ^ client, format!("c{client}"), Arc::clone(&now));
            let known = cluster.addresses.subscribe();
            let told = (acknowledged.clone(), stopped.clone());
            let api = (cluster.api.clone(), seed ^ (client << 8));
            tokio::spawn(record_with_any(api, known, maker, told))
        });
        let recorders = recorders.collect();
        let followers = (0..FOLLOWERS).map(|follower| {
            let (sender, seen) = watch::channel(1);
            let known = cluster.addresses.subscribe();
            let following = follow_any(known, first.clone(), seed ^ (follower << 16), sender);
            (tokio::spawn(following), seen)
        });
        let followers = followers.collect();
        Self {
            cluster,
            rng: StdRng::seed_from_u64(seed),
            recorders,
            followers,
            answered,
            stop,
        }
    }

    /// Waits until some more requests are answered.
    async fn some_more(&mut self) {
        let enough = *self.answered.borrow() + self.rng.random_range(10..60);
        let more = self.answered.wait_for(|count| *count >= enough);
        let more = tokio::time::timeout(DEADLINE, more).await;
        more.expect("requests are answered").unwrap();
        let moment = Duration::from_micros(self.rng.random_range(0..50_000));
        tokio::time::sleep(moment).await;
    }

    /// What may happen to a server happens to one of them.
    async fn strike(&mut self) {
        self.some_more().await;
        let victim = self.rng.random_range(0..self.cluster.servers.len());
        match self.rng.random_range(0..4) {
            0 => {
                self.cluster.servers[victim].freeze();
                // shorter than a lease lasts, or longer
                let moment = Duration::from_millis(self.rng.random_range(500..8_000));
                tokio::time::sleep(moment).await;
                self.cluster.servers[victim].thaw();
                println!("server {victim} was frozen for {moment:?}");
            }
            1 => {
                self.stop_orderly(victim).await;
                self.cluster.restart(victim);
                println!("server {victim} was told to stop");
            }
            _ => {
                self.cluster.servers[victim].kill();
                if self.rng.random_range(0..2) == 0 {
                    self.some_more().await;
                }
                self.cluster.restart(victim);
                println!("server {victim} was killed");
            }
        }
    }

    async fn stop_orderly(&mut self, index: usize) {
        self.cluster.servers[index].terminate();
        let server = &mut self.cluster.servers[index];
        until("it stops", async || !server.runs()).await;
    }

    /// Lets the clients end, and compares what they were told with what the log has.
    async fn settle(mut self) {
        self.some_more().await;
        self.stop.send_replace(true);
        let mut requests = Vec::new();
        for recorder in self.recorders {
            requests.extend(recorder.await.unwrap());
        }
        let (api, address) = (&self.cluster.api, self.cluster.address(0));
        // a database server ends what it was doing for a client that was killed: what is appended after it
        // comes after that
        let barrier = json!([{ "userActivity": { "activityType": "OTHER", "name": "barrier" } }]);
        api.record(&address, barrier).await;
        let mut ledger = Ledger::default();
        ledger.read(api, &address).await;
        let mut unanswered = 0;
        for request in &mut requests {
            if request.answer.is_some() {
                ledger.check(request);
            } else {
                assert_eq!(request.keyed, Keyed::Not);
                ledger.settle(api, &address, request).await;
                unanswered += 1;
            }
        }
        let events: usize = requests.iter().map(|one| one.events().count()).sum();
        assert_eq!(ledger.marks(), events, "the log has what nobody sent");
        for (follower, mut seen) in self.followers {
            while *seen.borrow_and_update() < ledger.head() {
                let more = tokio::time::timeout(DEADLINE, seen.changed()).await;
                more.expect("a follower sees more").unwrap();
            }
            assert!(!follower.is_finished(), "a follower failed");
            follower.abort();
        }
        let (count, head) = (requests.len(), ledger.head());
        println!("{count} requests, {unanswered} of them not answered, head {head}");
        api.folded(&address).await;
        drop(self.cluster.servers);
        self.cluster.database.verify();
    }
}

async fn struck_at_random(servers: usize) {
    let Some(database) = Database::postgres() else {
        return;
    };
    let mut chaos = Chaos::begin(database, servers).await;
    for _ in 0..rounds() * 2 {
        chaos.strike().await;
    }
    chaos.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_twice_when_two_servers_are_struck_at_random() {
    struck_at_random(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_twice_when_three_servers_are_struck_at_random() {
    struck_at_random(3).await;
}

/// An upgrade: one server after the other is told to stop and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_and_repeats_nothing() {
    let Some(database) = Database::postgres() else {
        return;
    };
    let mut chaos = Chaos::begin(database, 3).await;
    for _ in 0..rounds() {
        for server in 0..3 {
            chaos.some_more().await;
            chaos.stop_orderly(server).await;
            chaos.cluster.restart(server);
        }
    }
    chaos.settle().await;
}
