//! The agent and its client against a server that fails in every way it can.
//!
//! The server stands in for faults only; what a real one answers is tested end to end.
use std::time::Duration;

use clap::Parser;
use homepot_analytics::agent::{ASKS_EVERY, Agent, AgentArgs};
use homepot_analytics::client::sender::Sender;
use homepot_analytics::client::{
    Backlog, Client, ClientConfig, Handle, Line, MemoryLimits, Preamble, SenderConfig, Spool,
    SpoolLimits, Totals,
};
use homepot_analytics::clock::Clock;
use homepot_analytics::event::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::faulty_server::{Fault, Request, Server, number, quick};

fn event(number: u64) -> Line {
    to_raw_value(&json!({ "errorLog": { "number": number } })).unwrap()
}

fn registration(name: &str) -> Line {
    to_raw_value(&json!({ "deviceRegistration": { "name": name } })).unwrap()
}

/// A sender at work.
struct Running {
    handle: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Running {
    fn start(server: &str, backlog: Backlog, preamble: Preamble, config: SenderConfig) -> Self {
        let client = ClientConfig {
            server: server.to_owned(),
            ca: None,
            key: Some("k-1".to_owned()),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
        };
        let sender = Sender {
            backlog,
            client: Client::new(&client, Clock::system()).unwrap(),
            preamble,
            config,
            rng: StdRng::seed_from_u64(1),
        };
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let handle = sender.start(&tracker, stop.clone());
        Self {
            handle,
            tracker,
            stop,
        }
    }

    async fn keep(&self, numbers: std::ops::Range<u64>) {
        self.handle
            .keep(numbers.map(event).collect())
            .await
            .unwrap();
    }

    async fn delivered(&mut self) -> Totals {
        let room = self.handle.wait_for_room(0);
        tokio::time::timeout(Duration::from_secs(20), room)
            .await
            .expect("it is delivered")
            .unwrap();
        self.handle.totals()
    }

    async fn stop(self) {
        self.stop.cancel();
        drop(self.handle);
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn in_memory() -> Backlog {
    Backlog::in_memory(MemoryLimits {
        events_max: 1_000,
        bytes_max: 1 << 20,
    })
}

fn on_disk(folder: &std::path::Path) -> Backlog {
    let spool = Spool::open(folder, SpoolLimits::default()).unwrap();
    Backlog::on_disk(
        spool,
        MemoryLimits {
            events_max: 10,
            bytes_max: 1 << 20,
        },
    )
}

fn start(server: &Server) -> Running {
    Running::start(&server.url, in_memory(), Preamble::default(), quick())
}

#[tokio::test]
async fn every_passing_fault_is_tried_again_until_the_events_are_recorded() {
    let faults = [
        Fault::Status(503),
        Fault::Status(500),
        Fault::RetryAfter(429, "0"),
        Fault::RetryAfter(503, "86400"),
        Fault::Code("OVERLOADED"),
        Fault::Code("RATE_LIMITED"),
        Fault::Code("UNAVAILABLE"),
        Fault::Code("TIMEOUT"),
        Fault::DropsConnection,
        Fault::LoginPage,
    ];
    let mut server = Server::start(faults).await;
    let mut running = start(&server);
    running.keep(0..3).await;
    for _ in 0..11 {
        let request = server.request().await;
        assert_eq!(
            request.events.iter().filter_map(number).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(request.key.as_deref(), Some("Bearer k-1"));
    }
    let totals = running.delivered().await;
    assert_eq!((totals.recorded, totals.rejected), (3, 0));
}

#[tokio::test]
async fn wrong_key_keeps_every_event() {
    let faults = [
        Fault::Code("UNAUTHENTICATED"),
        Fault::Status(403),
        Fault::Status(404),
    ];
    let server = Server::start(faults).await;
    let mut running = start(&server);
    running.keep(0..3).await;
    assert_eq!(running.delivered().await.recorded, 3);
    assert_eq!(server.faults_left(), 0);
}

#[tokio::test]
async fn only_answered_events_leave() {
    let mut server = Server::start([Fault::AnswersFirst(2), Fault::AnswersFirst(0)]).await;
    let mut running = start(&server);
    running.keep(0..5).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(
            server
                .request()
                .await
                .events
                .iter()
                .filter_map(number)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(sent, [vec![0, 1, 2, 3, 4], vec![2, 3, 4], vec![2, 3, 4]]);
    assert_eq!(running.delivered().await.recorded, 5);
}

#[tokio::test]
async fn one_event_at_fault_is_found_and_does_not_hold_back_the_others() {
    let server = Server::start([Fault::BadInputIf(37)]).await;
    let mut running = start(&server);
    running.keep(0..100).await;
    let totals = running.delivered().await;
    assert_eq!((totals.recorded, totals.rejected), (99, 1));
}

#[tokio::test]
async fn rejected_events_are_counted_and_removed() {
    let server = Server::start([Fault::Rejects("OUT_OF_RANGE")]).await;
    let mut running = start(&server);
    running.keep(0..4).await;
    assert_eq!(running.delivered().await.rejected, 4);
}

fn sample(at: Instant) -> Line {
    to_raw_value(&json!({ "deviceMetrics": { "occurredAt": at.to_string() } })).unwrap()
}

#[tokio::test]
async fn events_ahead_of_the_servers_clock_are_kept_until_it_reaches_them() {
    let faults = [Fault::Rejects("IN_FUTURE"), Fault::Rejects("IN_FUTURE")];
    let server = Server::start(faults).await;
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(
        &server.url,
        on_disk(folder.path()),
        Preamble::default(),
        quick(),
    );
    let ahead = Clock::system().now().plus_ms(3_600_000);
    running.handle.keep(vec![sample(ahead)]).await.unwrap();
    running.keep(0..3).await;
    let totals = running.delivered().await;
    assert_eq!((totals.recorded, totals.rejected), (4, 0));
    assert_eq!(server.faults_left(), 0);
}

#[tokio::test]
async fn events_more_than_a_day_ahead_are_let_go() {
    let server = Server::start([Fault::Rejects("IN_FUTURE")]).await;
    let mut running = start(&server);
    let ahead = Clock::system().now().plus_ms(25 * 3_600_000);
    running.handle.keep(vec![sample(ahead)]).await.unwrap();
    assert_eq!(running.delivered().await.rejected, 1);
}

#[tokio::test]
async fn batches_hold_no_more_than_their_limits() {
    let mut server = Server::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), SpoolLimits::default()).unwrap();
    spool
        .append(&(0..25).map(event).collect::<Vec<_>>())
        .unwrap();
    drop(spool);
    let config = SenderConfig {
        batch_events_max: 10,
        ..quick()
    };
    let mut running = Running::start(
        &server.url,
        on_disk(folder.path()),
        Preamble::default(),
        config,
    );
    assert_eq!(running.delivered().await.recorded, 25);
    for expected in [10, 10, 5] {
        assert_eq!(server.request().await.events.len(), expected);
    }
}

#[tokio::test]
async fn registrations_go_first_and_again_when_the_server_forgot_the_device() {
    let faults = [
        Fault::AnswersFirst(1),
        Fault::AnswersFirst(1),
        Fault::Rejects("UNKNOWN_DEVICE"),
    ];
    let mut server = Server::start(faults).await;
    let preamble = Preamble {
        events: vec![registration("device")],
        on_unknown_site: Vec::new(),
    };
    let mut running = Running::start(&server.url, in_memory(), preamble, quick());
    let is_registration = |request: &Request| request.events[0].get("deviceRegistration").is_some();
    assert!(is_registration(&server.request().await));
    running.keep(0..1).await;
    assert!(!is_registration(&server.request().await));
    running.keep(1..2).await;
    assert!(!is_registration(&server.request().await));
    assert!(is_registration(&server.request().await));
    assert_eq!(number(&server.request().await.events[0]), Some(1));
    let totals = running.delivered().await;
    assert_eq!((totals.recorded, totals.rejected), (2, 0));
}

#[tokio::test]
async fn site_is_registered_only_when_the_server_does_not_know_it() {
    let mut server = Server::start([Fault::Rejects("UNKNOWN_SITE")]).await;
    let preamble = Preamble {
        events: vec![registration("device")],
        on_unknown_site: vec![registration("site"), registration("device")],
    };
    let _running = Running::start(&server.url, in_memory(), preamble, quick());
    assert_eq!(server.request().await.events.len(), 1);
    assert_eq!(server.request().await.events.len(), 2);
}

#[tokio::test]
async fn events_kept_while_the_server_is_away_arrive_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let running = Running::start(&url, on_disk(folder.path()), Preamble::default(), quick());
    running.keep(0..5).await;
    running.stop().await;
    let mut server = Server::on(TcpListener::bind(address).await.unwrap(), []);
    let mut running = Running::start(&url, on_disk(folder.path()), Preamble::default(), quick());
    running.keep(5..6).await;
    assert_eq!(running.delivered().await.recorded, 6);
    let mut numbers = Vec::new();
    while numbers.len() < 6 {
        numbers.extend(server.request().await.events.iter().filter_map(number));
    }
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    running.stop().await;
    assert_eq!(on_disk(folder.path()).waiting(), 0);
    server.stop.cancel();
}

#[tokio::test]
async fn full_backlog_drops_the_oldest_and_counts_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let backlog = Backlog::in_memory(MemoryLimits {
        events_max: 10,
        bytes_max: 1 << 20,
    });
    let running = Running::start(&url, backlog, Preamble::default(), quick());
    running.keep(0..25).await;
    let totals = running.handle.totals();
    assert_eq!((totals.dropped, totals.waiting), (15, 10));
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: AgentArgs,
}

fn agent(server: &str, spool: &std::path::Path) -> Agent {
    let spool = spool.to_str().unwrap();
    let flags = [
        "agent", "--server", server, "--spool", spool, "--device", "d", "--site", "s",
    ];
    Agent {
        args: Cli::parse_from(flags).args,
        sender: quick(),
        asks_every: ASKS_EVERY,
        clock: Clock::by_hand(Instant::parse("2026-11-23T10:00:00Z").unwrap()),
        rng: StdRng::seed_from_u64(1),
    }
}

#[tokio::test]
async fn agent_registers_itself_and_reports_a_real_sample_at_once() {
    let mut server = Server::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(agent(&server.url, folder.path()).run(stop.clone()));
    let registration = server.request().await.events.remove(0);
    assert_eq!(registration["deviceRegistration"]["deviceId"], "d");
    let metrics = server.request().await.events.remove(0)["deviceMetrics"].take();
    assert_eq!(metrics["deviceId"], "d");
    assert_eq!(metrics["occurredAt"], "2026-11-23T10:00:00Z");
    assert_eq!(metrics["provenance"], "REAL");
    assert_eq!(metrics["collectionIntervalSeconds"], 30);
    assert!(metrics["memoryPercent"].as_f64().unwrap() > 0.0);
    assert!(metrics["networkLatencyMs"].as_f64().unwrap() > 0.0);
    let mut event =
        homepot_analytics::kinds::parse_any(&json!({ "deviceMetrics": metrics }), Instant(0))
            .unwrap();
    homepot_analytics::kinds::check(&mut event.fact).unwrap();
    stop.cancel();
    let totals = task.await.unwrap().unwrap();
    assert_eq!(totals.rejected, 0);
}

#[tokio::test]
async fn second_agent_on_one_spool_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = on_disk(folder.path());
    let agent = agent("http://127.0.0.1:9", folder.path());
    let refused = agent.run(CancellationToken::new()).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("is in use by another process")
    );
}
