//! What it costs to notice that devices are silent: 10,000 devices that report every 30 s, an hour of it, as a
//! part of the time of one core. `cargo bench --bench alerts`; the bar is 1 %.

use std::time::{Duration, Instant as Moment};

use homepot_analytics::alerts::Drill;
use homepot_analytics::event::Instant;

const DEVICES: usize = 10_000;
const INTERVAL_SECONDS: usize = 30;
const SECONDS: usize = 3_600;
/// Looks in a second, as the server does it.
const LOOKS: i64 = 4;
/// Every so many devices are silent for a third of the time.
const SILENT: usize = 10;

#[expect(clippy::print_stdout, reason = "it prints what it has measured")]
fn main() -> anyhow::Result<()> {
    let devices = i64::try_from(DEVICES)?;
    let mut drill = Drill::new(devices, i64::try_from(INTERVAL_SECONDS)?)
        .map_err(|refusal| anyhow::anyhow!("{}", refusal.message))?;
    let begun = Moment::now();
    let mut steps = 0;
    let share = DEVICES / INTERVAL_SECONDS + 1;
    for second in 0..SECONDS {
        let at = Instant(1_800_000_000_000_000).plus_ms(i64::try_from(second)? * 1_000);
        let first = second % INTERVAL_SECONDS * share;
        let is_away = (SECONDS / 3..2 * SECONDS / 3).contains(&second);
        let last = (first + share).min(DEVICES);
        let first = if is_away {
            first + share / SILENT
        } else {
            first
        };
        drill.report(first.min(last)..last, at);
        for look in 0..LOOKS {
            steps += drill.look(at.plus_ms(look * 1_000 / LOOKS));
        }
    }
    let took = begun.elapsed();
    let of = Duration::from_secs(u64::try_from(SECONDS)?);
    let percent = took.as_secs_f64() * 100.0 / of.as_secs_f64();
    println!("{DEVICES} devices, {SECONDS} s: {took:.2?}, {steps} steps of alerts");
    println!("of one core: {percent:.3} %");
    Ok(())
}
