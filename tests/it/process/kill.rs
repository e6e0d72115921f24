//! Invariants 1 to 5 across `kill -9`: clients record over HTTP, the server is killed at a random
//! moment and started again, and the log is compared with what the clients were told.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use homepot_analytics::event::Instant;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::{Api, Subscription, long};
use super::commands::command_until_killed;
use super::database::Database;
use super::ledger::{Ledger, Settled};
use super::program::{DEADLINE, Program};
use super::rebuild::PROJECTIONS;
use super::workload::{DEVICES, Keyed, Maker, Request, record_until_killed};

/// Clients that record at the same time.
const CLIENTS: usize = 8;

pub(super) fn rounds() -> u32 {
    if crate::support::is_long() { 50 } else { 5 }
}

/// A run can be repeated with the seed that it printed.
pub(super) fn seed() -> u64 {
    let given = std::env::var("HOMEPOT_TEST_SEED").ok();
    given.map_or_else(rand::random, |seed| {
        seed.parse().expect("a seed is a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_on_sqlite() {
    Harness::start(Database::sqlite()).await.run(rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_on_postgresql() {
    if let Some(database) = Database::postgres() {
        Harness::start(database).await.run(rounds()).await;
    }
}

struct Harness {
    database: Database,
    server: Program,
    address: watch::Sender<String>,
    api: Api,
    rng: StdRng,
    makers: Vec<Maker>,
    requests: Vec<Request>,
    ledger: Ledger,
    seen: watch::Receiver<i64>,
    subscriber: JoinHandle<()>,
    pager: JoinHandle<()>,
    unanswered: (usize, usize),
}

impl Harness {
    async fn start(database: Database) -> Self {
        let seed = seed();
        println!("seed {seed}: repeat it with HOMEPOT_TEST_SEED={seed}");
        let (server, address) = database.serve();
        let api = Api::new();
        let first = register(&api, &address).await;
        let (address, follow) = watch::channel(address);
        let (sender, seen) = watch::channel(1);
        let pager = tokio::spawn(page_log(api.clone(), follow.clone()));
        let subscriber = tokio::spawn(follow_log(follow, first, sender));
        let now = Instant::parse("2026-01-01T00:00:00Z").unwrap().0;
        let now = Arc::new(AtomicI64::new(now));
        let maker = |client| Maker::new(seed ^ client, format!("c{client}"), Arc::clone(&now));
        Self {
            database,
            server,
            address,
            api,
            rng: StdRng::seed_from_u64(seed),
            makers: (1..).take(CLIENTS).map(maker).collect(),
            requests: Vec::new(),
            ledger: Ledger::default(),
            seen,
            subscriber,
            pager,
            unanswered: (0, 0),
        }
    }

    async fn run(mut self, rounds: u32) {
        for round in 1..=rounds {
            self.record_and_kill().await;
            self.restart();
            self.settle().await;
            let (head, requests) = (self.ledger.head(), self.requests.len());
            println!("round {round}: {requests} requests, head {head}");
        }
        let (present, absent) = self.unanswered;
        println!("without an answer: {present} requests were recorded, {absent} were not");
        for request in &self.requests {
            self.ledger.check(request);
        }
        self.one_commit_each().await;
        self.subscriber_saw_everything().await;
        let Self {
            database,
            server,
            api,
            ..
        } = self;
        rebuilt_is_as_folded(&database, server, &api).await;
        database.verify();
    }

    /// Lets the clients record and kills the server at a moment between.
    async fn record_and_kill(&mut self) {
        let (acknowledged, mut answers) = watch::channel(0);
        let mut clients = Vec::new();
        for maker in self.makers.drain(..) {
            let (api, address) = (self.api.clone(), self.address.borrow().clone());
            let client = record_until_killed(api, address, maker, acknowledged.clone());
            clients.push(tokio::spawn(client));
        }
        let answered = self.rng.random_range(1..60);
        let commands = command_until_killed(self.api.clone(), self.address.borrow().clone());
        let commands = tokio::spawn(commands);
        let enough = answers.wait_for(|count| *count >= answered);
        tokio::time::timeout(DEADLINE, enough)
            .await
            .expect("it records")
            .unwrap();
        // the moment lies anywhere in the work on a batch
        let moment = Duration::from_micros(self.rng.random_range(0..50_000));
        tokio::time::sleep(moment).await;
        self.server.kill();
        commands.await.unwrap();
        for client in clients {
            let shift = client.await.unwrap();
            self.makers.push(shift.maker);
            self.requests.extend(shift.requests);
        }
    }

    /// Starts the server again; now and then it is killed while it starts.
    fn restart(&mut self) {
        if self.rng.random_range(0..3) == 0 {
            let mut starting =
                self.database
                    .start(&["serve", "--no-authentication", "--listen", "127.0.0.1:0"]);
            let moment = Duration::from_micros(self.rng.random_range(0..100_000));
            std::thread::sleep(moment);
            starting.kill();
        }
        let (server, address) = self.database.serve();
        self.server = server;
        self.address.send_replace(address);
    }

    /// Reads what the log has, and compares it with what this round's clients were told.
    async fn settle(&mut self) {
        let address = self.address.borrow().clone();
        // a database server ends what it was doing for a client that was killed: what is appended
        // after it comes after that
        let barrier = json!([{ "userActivity": { "activityType": "OTHER", "name": "barrier" } }]);
        self.api.record(&address, barrier).await;
        self.ledger.read(&self.api, &address).await;
        for request in &mut self.requests {
            if request.answer.is_some() {
                if !request.input["events"].as_array().unwrap().is_empty() {
                    self.ledger.check(request);
                }
                continue;
            }
            match self.ledger.settle(&self.api, &address, request).await {
                Settled::Present => self.unanswered.0 += 1,
                Settled::Absent => self.unanswered.1 += 1,
            }
        }
        self.ledger.read(&self.api, &address).await;
        self.requests
            .retain(|request| request.keyed != Keyed::Not || request.answer != Some(Vec::new()));
        let events: usize = self
            .requests
            .iter()
            .map(|request| request.events().count())
            .sum();
        assert_eq!(self.ledger.marks(), events, "the log has what nobody sent");
    }

    /// Each request lies within one commit, and the commits follow each other without a hole.
    async fn one_commit_each(&self) {
        let sql = "SELECT first_position, last_position FROM commits ORDER BY first_position";
        let commits = self.database.rows(sql).await;
        let mut head = 0;
        for (first, last) in &commits {
            assert_eq!(*first, head + 1);
            head = *last;
        }
        for request in &self.requests {
            let places = request.answer.as_ref().unwrap();
            let (first, last) = (places[0], places[places.len() - 1]);
            let within = commits.partition_point(|(of, _)| *of <= first) - 1;
            assert!(last <= commits[within].1, "{first} to {last} spans commits");
        }
    }

    async fn subscriber_saw_everything(&mut self) {
        let head = self.ledger.head();
        // slow is not stuck: each event has the deadline, not all that is still to be seen
        while *self.seen.borrow_and_update() < head {
            let more = tokio::time::timeout(DEADLINE, self.seen.changed()).await;
            more.expect("the subscriber sees more").unwrap();
        }
        assert!(!self.subscriber.is_finished(), "the subscriber failed");
        self.subscriber.abort();
        assert!(!self.pager.is_finished(), "the reader by pages failed");
        self.pager.abort();
    }
}

/// Registers the site and the devices; the cursor of the first event.
async fn register(api: &Api, address: &str) -> String {
    let mut events = vec![json!({ "siteRegistration": { "siteId": "s0", "name": "Site" } })];
    events.extend((0..DEVICES).map(|device| {
        json!({ "deviceRegistration": { "deviceId": format!("d{device}"), "siteId": "s0", "deviceType": "POS_TERMINAL" } })
    }));
    let outcomes = api.record(address, json!(events)).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome["status"] == "RECORDED")
    );
    assert_eq!(outcomes[0]["position"], "1");
    outcomes[0]["cursor"].as_str().unwrap().to_owned()
}

/// Follows the log across all servers, each time from the last cursor, and sees every position
/// exactly once.
async fn follow_log(
    mut address: watch::Receiver<String>,
    mut cursor: String,
    seen: watch::Sender<i64>,
) {
    let query = "subscription Follow($after: String) { events(after: $after) { position cursor } }";
    loop {
        let server = address.borrow_and_update().clone();
        if let Some(mut stream) =
            Subscription::open(&server, query, json!({ "after": cursor })).await
        {
            while let Some(item) = stream.next().await {
                let event = &item["events"];
                let last = *seen.borrow();
                assert_eq!(long(&event["position"]), last + 1, "after {cursor}");
                cursor = event["cursor"].as_str().unwrap().to_owned();
                seen.send_replace(last + 1);
            }
        }
        if address.changed().await.is_err() {
            return;
        }
    }
}

/// Reads the log page by page while it grows, across all servers, and meets no hole.
async fn page_log(api: Api, mut address: watch::Receiver<String>) {
    let query = "query Page($after: String) { events(order: FIRST_RECORDED_FIRST, first: 100, \
        after: $after) { nodes { position } pageInfo { endCursor } } }";
    let (mut after, mut last) = (Value::Null, 0);
    loop {
        let server = address.borrow_and_update().clone();
        while let Ok(answer) = api.call(&server, query, json!({ "after": after })).await {
            assert!(answer.get("errors").is_none(), "{answer}");
            let events = &answer["data"]["events"];
            for event in events["nodes"].as_array().unwrap() {
                assert_eq!(long(&event["position"]), last + 1, "a page has a hole");
                last += 1;
                after = events["pageInfo"]["endCursor"].clone();
            }
        }
        if address.changed().await.is_err() {
            return;
        }
    }
}

const STATE: &str = "{ devices(first: 1000) { nodes { deviceId currentState currentStateSince \
    lastSeenAt lifecycle registeredAt latestMetrics { position cpuPercent } configuration { \
    parameterName value } } } sites(first: 1000) { nodes { siteId name timeZone registeredAt \
    schedule { position dayOfWeek isClosed } } } jobs(first: 20) { nodes { jobId jobType state \
    payload createdBy createdAt changedAt targets { device { deviceId } status } } } \
    collectionStatus { sources { source records realRecords oldestAt newestAt } } }";

/// How far what carries jobs out has come, and the last event that it has to hear.
const JOBS: &str = "SELECT COALESCE((SELECT position FROM checkpoints \
    WHERE projection = 'jobs_reconciled'), 0), MAX(position) FROM (\
    SELECT MAX(position) AS position FROM job_transitions UNION \
    SELECT MAX(position) FROM command_transitions UNION \
    SELECT MAX(position) FROM job_outcomes UNION \
    SELECT MAX(position) FROM device_state_history UNION \
    SELECT MAX(position) FROM device_registrations) heard";

/// Waits until jobs rest: a server that starts goes on where the one that was killed was in the midst of it, once
/// the claim of that one has run out.
async fn jobs_rest(database: &Database) {
    let resting = async {
        loop {
            let (done, last) = database.rows(JOBS).await[0];
            if done >= last {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let rested = tokio::time::timeout(DEADLINE, resting).await;
    rested.expect("jobs are carried out");
}

/// State folded across the kills is the state folded from the log in one go.
async fn rebuilt_is_as_folded(database: &Database, server: Program, api: &Api) {
    // while servers are asked nothing may move any more
    jobs_rest(database).await;
    stop(server);
    let before = state(database, api).await;
    for projection in PROJECTIONS {
        let rebuilt = database.run(&["rebuild", projection]);
        assert!(rebuilt.status.success(), "{rebuilt:?}");
        assert_eq!(
            state(database, api).await,
            before,
            "{projection} is rebuilt otherwise"
        );
    }
}

fn stop(server: Program) {
    server.terminate();
    let ended = server.end();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// What the API answers of devices, sites, jobs and collection, once the whole log is folded. Requests to the
/// API are left out, since asking makes more of them.
async fn state(database: &Database, api: &Api) -> Value {
    // an import brings up to date what follows the log
    let nothing = database.folder().join("nothing.jsonl");
    std::fs::write(&nothing, "").unwrap();
    let imported = database.run(&["import", nothing.to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    let (server, address) = database.serve();
    let mut data = api.data(&address, STATE, json!({})).await;
    stop(server);
    let sources = data["collectionStatus"]["sources"].as_array_mut().unwrap();
    sources.retain(|source| source["source"] != "apiRequest");
    assert_eq!(data["devices"]["nodes"].as_array().unwrap().len(), DEVICES);
    let sites = data["sites"]["nodes"].as_array().unwrap();
    assert!(!sites[0]["schedule"].as_array().unwrap().is_empty());
    assert!(!data["jobs"]["nodes"].as_array().unwrap().is_empty());
    data
}
