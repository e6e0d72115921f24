//! Every limit that can be set, and those of the log that cannot.

use std::time::Duration;

use clap::Args;

use crate::identity::Rates;
use crate::store::Limits;

/// Limits that can be set.
#[derive(Clone, Debug, Args)]
pub struct LimitArgs {
    /// Events that may wait to be appended (1000 to 1000000); more are refused as OVERLOADED.
    #[arg(long, env = "HOMEPOT_QUEUE_EVENTS_MAX", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    pub queue_events_max: u32,
    /// MiB of events that may wait to be appended (16 to 4095).
    #[arg(long, env = "HOMEPOT_QUEUE_MIB_MAX", default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=4_095))]
    pub queue_mib_max: u32,
    /// Newest events kept in memory for those who follow live (100 to 1000000).
    #[arg(long, env = "HOMEPOT_RING_EVENTS_MAX", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub ring_events_max: u32,
    /// Connections to the database for readers (1 to 100), and as many to its replica if there is one.
    #[arg(long, env = "HOMEPOT_READERS_MAX", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub readers_max: u32,
    /// Connections to PostgreSQL for what this server writes (3 to 100). With those for readers and one
    /// more each server needs so many: the database has to allow them for all servers together. SQLite
    /// has one.
    #[arg(long, env = "HOMEPOT_WRITERS_MAX", default_value_t = 6, value_parser = clap::value_parser!(u32).range(3..=100))]
    pub writers_max: u32,
    /// Sockets and streams of events that may be open (1 to 1000000); more are refused as OVERLOADED. Those
    /// of the role DEVICE have nine tenths of them, so that a fleet of agents leaves some to people.
    #[arg(long, env = "HOMEPOT_SOCKETS_MAX", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sockets_max: u32,
    /// Connections that may be open (10 to 1000000); one more is closed at once. An agent has two and at
    /// times a third.
    #[arg(long, env = "HOMEPOT_CONNECTIONS_MAX", default_value_t = 22_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub connections_max: u32,
    /// Connections that may be open from one address (10 to 1000000), save from loopback.
    #[arg(long, env = "HOMEPOT_CONNECTIONS_PER_ADDRESS_MAX", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub connections_per_address_max: u32,
    /// Seconds within which a device is expected to be heard of, at least (5 to 86400); after three
    /// of its own intervals, and not before this, it is OFFLINE.
    #[arg(long, env = "HOMEPOT_OFFLINE_AFTER_SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub offline_after_seconds: u32,
    /// Points of cost that each caller may spend in a second, and ten seconds of them at once (0 to
    /// 1000000000; 0 is no limit). A point is a value that a request may be answered with; a device has a
    /// hundredth.
    #[arg(long, env = "HOMEPOT_COST_PER_SECOND_MAX", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    pub cost_per_second_max: u32,
    /// Events that each caller may record in a second, and ten seconds of them at once (0 to 1000000000; 0
    /// is no limit); a device a hundredth.
    #[arg(long, env = "HOMEPOT_EVENTS_PER_SECOND_MAX", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    pub events_per_second_max: u32,
    /// Seconds that a request may take to be executed (1 to 3600).
    #[arg(long, env = "HOMEPOT_REQUEST_SECONDS_MAX", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub request_seconds_max: u32,
    /// Seconds that requests have to end when the server is told to stop (0 to 600).
    #[arg(long, env = "HOMEPOT_DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub drain_seconds: u32,
}

/// MiB kept in memory for those who follow live; beyond it the oldest leave.
const RING_MIB: usize = 24;
/// Events that a follower who has fallen behind reads at once.
const PAGE_EVENTS: usize = 1_000;
/// How often the database is asked for its head.
const TAIL_POLL: Duration = Duration::from_millis(150);
/// What another process has appended is seen within this time: the look at the head that comes after
/// it finds it, and has the rest of the time to read it.
const SEEN_WITHIN: Duration = Duration::from_millis(250);

const _: () = assert!(TAIL_POLL.as_millis() + 100 <= SEEN_WITHIN.as_millis());

impl LimitArgs {
    /// The limits of the log.
    #[must_use]
    pub fn store(&self) -> Limits {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            queue_events_max: size(self.queue_events_max),
            queue_bytes_max: size(self.queue_mib_max) * 1024 * 1024,
            ring_events_max: size(self.ring_events_max),
            ring_bytes_max: RING_MIB * 1024 * 1024,
            page_events: PAGE_EVENTS,
            tail_poll: TAIL_POLL,
        }
    }
}

impl LimitArgs {
    /// What callers may spend.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates {
            cost_per_second: i64::from(self.cost_per_second_max),
            events_per_second: i64::from(self.events_per_second_max),
        }
    }
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            queue_events_max: 20_000,
            queue_mib_max: 64,
            ring_events_max: 50_000,
            readers_max: 8,
            writers_max: 6,
            sockets_max: 12_000,
            connections_max: 22_000,
            connections_per_address_max: 2_000,
            offline_after_seconds: 90,
            cost_per_second_max: 500_000,
            events_per_second_max: 100_000,
            request_seconds_max: 30,
            drain_seconds: 10,
        }
    }
}
