//! The simulation as a client: it catches up with the present and drops nothing on the way.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and its tasks are its own"
)]

use clap::Parser;
use homepot_analytics::clock::Clock;
use homepot_analytics::event::Instant;
use homepot_analytics::simulate::{SimulateArgs, Simulation};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::faulty_server::{Fault, Server, quick};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: SimulateArgs,
}

fn occurred_at(event: &Value) -> Instant {
    let body = event.as_object().unwrap().values().next().unwrap();
    Instant::parse(body["occurredAt"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn fast_simulation_catches_up_with_the_present_and_loses_nothing_to_faults() {
    let faults = [
        Fault::Status(503),
        Fault::Code("OVERLOADED"),
        Fault::AnswersFirst(3),
    ];
    let mut server = Server::start(faults).await;
    let present = Instant::parse("2026-11-23T10:00:00Z").unwrap();
    let flags = [
        "simulate",
        "--server",
        &server.url,
        "--back-hours",
        "3",
        "--speed",
        "100000",
    ];
    let simulation = Simulation {
        args: Cli::parse_from(flags.iter().chain(&["--buffer-events", "1000"])).args,
        sender: quick(),
        clock: Clock::by_hand(present),
        rng: StdRng::seed_from_u64(1),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(simulation.run(stop.clone()));
    let (mut newest, mut metrics) = (Instant(0), 0);
    while newest < present.plus_ms(-30_000) {
        for event in server.request().await.events {
            newest = newest.max(occurred_at(&event));
            metrics += usize::from(event.get("deviceMetrics").is_some());
            assert!(occurred_at(&event) <= present);
        }
    }
    stop.cancel();
    let totals = task.await.unwrap().unwrap();
    assert_eq!(
        (totals.dropped, totals.conflict, totals.rejected),
        (0, 0, 0)
    );
    // 12 devices report every 30 s for 3 hours, less what trouble swallows.
    assert!(metrics > 3_500, "{metrics}");
}
