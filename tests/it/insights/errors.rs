//! How often an error comes now against the week before.

use homepot_analytics::event::Instant;
use homepot_analytics::insights::errors::group::{Event, Group};
use homepot_analytics::insights::errors::trend::{LEVEL, trend};
use homepot_analytics::insights::input::{DAY, HOUR, Severity};
use homepot_analytics::insights::number::{float, whole};
use homepot_analytics::insights::shape::Interval;

use super::{Dice, Tries};

const NOW: Instant = Instant(20_000 * DAY);

/// A group that comes so often in a week, in clusters of such a mean, and by a factor as often in the last week.
fn group(a_week: f64, factor: f64, cluster: f64, dice: &mut Dice) -> Group {
    let event = |hours: f64| Event {
        at: Instant(NOW.0 - HOUR - whole(hours * float(HOUR))),
        variant: 1,
        severity: Severity::Error,
        device: None,
    };
    let mut group = Group::new("DEVICE", None, &event(0.0));
    for (mean, from) in [(a_week * factor, 0.0), (a_week, 168.0)] {
        for _ in 0..dice.poisson(mean / cluster) {
            let at = from + dice.between(0.0, 167.0);
            // one more than a geometric count
            group.add(&event(at));
            while dice.is(1.0 - 1.0 / cluster) {
                group.add(&event(at));
            }
        }
    }
    group
}

#[test]
fn a_trend_lies_in_its_interval() {
    let mut dice = Dice::new(7);
    for (a_week, cluster) in [
        (5.0, 1.0),
        (40.0, 1.0),
        (80.0, 1.0),
        (20.0, 1.5),
        (40.0, 3.0),
        (80.0, 3.0),
    ] {
        let mut had = Tries::default();
        for factor in [1.0, 3.0] {
            for _ in 0..400 {
                let group = group(a_week, factor, cluster, &mut dice);
                let said = trend(&group, Instant(0), NOW).unwrap().ratio;
                let interval = Interval {
                    low: said.low,
                    high: said.high,
                    level: LEVEL,
                };
                had.look(interval, factor);
            }
        }
        had.hold_ninety(&format!(
            "trend of {a_week} errors a week, {cluster} at a time"
        ));
    }
}
