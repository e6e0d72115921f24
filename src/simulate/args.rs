//! The command line of the simulation.

use clap::Args;

use crate::client::ServerArgs;
use crate::fleet::{DEVICES_MAX, FleetOptions};

/// Simulate a fleet as a client of a server.
///
/// Every event is stamped SIMULATED.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Which server, and as whom
    #[command(flatten)]
    pub server: ServerArgs,

    /// Number of sites (at least 1; 10,000 devices in all)
    #[arg(long, env = "HOMEPOT_SITES", default_value_t = 3, value_parser = count)]
    pub sites: usize,

    /// Number of devices at each site (at least 1; 10,000 devices in all)
    #[arg(long, env = "HOMEPOT_DEVICES_PER_SITE", default_value_t = 4, value_parser = count)]
    pub devices_per_site: usize,

    /// Time between two reports of a device, in seconds (1 to 3600)
    #[arg(
        long = "interval",
        env = "HOMEPOT_INTERVAL",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=3_600)
    )]
    pub interval_seconds: u32,

    /// From this all randomness of the fleet follows
    #[arg(long, env = "HOMEPOT_SEED", default_value_t = 1)]
    pub seed: u64,

    /// Where simulated time starts, in hours before the present (0 to 8784)
    #[arg(
        long,
        env = "HOMEPOT_BACK_HOURS",
        value_name = "HOURS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=8_784)
    )]
    pub back_hours: u32,

    /// How many times faster than real time it runs until it reaches the present (1 to 100000); of
    /// use together with --back-hours, since no event lies in the future
    #[arg(
        long,
        env = "HOMEPOT_SPEED",
        value_name = "FACTOR",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub speed: u32,

    /// Events that wait in memory at most (1000 to 1000000); then the simulation stands still
    #[arg(
        long,
        env = "HOMEPOT_BUFFER_EVENTS",
        value_name = "EVENTS",
        default_value = "20000",
        value_parser = buffer
    )]
    pub buffer_events: usize,
}

impl SimulateArgs {
    /// The fleet that was asked for, brought within its bounds.
    pub(super) fn fleet(&self) -> FleetOptions {
        FleetOptions {
            seed: self.seed,
            sites: self.sites,
            devices_per_site: self.devices_per_site,
            interval_seconds: self.interval_seconds,
        }
        .bounded()
    }
}

fn count(text: &str) -> Result<usize, String> {
    within(text, 1..=DEVICES_MAX)
}

fn buffer(text: &str) -> Result<usize, String> {
    within(text, 1_000..=1_000_000)
}

fn within(text: &str, bounds: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| format!("not a number from {} to {}", bounds.start(), bounds.end()))
}
