//! The slope of daily levels with a rhythm of the week and noise that is alike from day to day.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::impact::daily::Day;
use homepot_analytics::insights::impact::trend::{Limit, trend};
use homepot_analytics::insights::input::{DAY, Measure};

use super::{Dice, MONDAY, Tries};

/// Daily levels about a line.
fn levels(count: i32, slope: f64, likeness: f64, dice: &mut Dice) -> Vec<Day> {
    let week: Vec<f64> = (0..7).map(|_| 3.0 * dice.normal()).collect();
    let mut noise = dice.normal();
    let level = |index: i32| {
        noise = likeness * noise + (1.0 - likeness * likeness).sqrt() * dice.normal();
        let weekday = usize::try_from(index.rem_euclid(7)).unwrap();
        Day {
            day: MONDAY + index,
            level: 40.0
                + slope * f64::from(index)
                + if count >= 21 { week[weekday] } else { 0.0 }
                + noise,
            hours: 24,
        }
    };
    (0..count).map(level).collect()
}

/// Of so many days, more or less alike, the slope, and when a limit is reached.
fn tried(count: i32, dice: &mut Dice) -> [Tries; 2] {
    let (mut slopes, mut limits) = (Tries::default(), Tries::default());
    let as_of = Instant(i64::from(MONDAY + count) * DAY);
    for _ in 0..400 {
        let slope = 0.3 * dice.normal().abs();
        let days = levels(count, slope, dice.between(0.0, 0.6), dice);
        let limit = Some(Limit::Above(90.0));
        let said = trend(&days, Measure::DiskPercent, limit, Tz::UTC, as_of);
        slopes.look(said.slope.interval.unwrap(), slope);
        if let Some(days) = said.days_to_limit {
            let truth = 50.0 / slope - f64::from(count);
            limits.look(days.interval.unwrap(), truth.clamp(0.0, 365.0));
        }
    }
    [slopes, limits]
}

#[test]
fn a_slope_and_the_days_to_a_limit_lie_in_their_intervals() {
    let mut dice = Dice::new(4);
    let mut together = Tries::default();
    for count in [14, 45] {
        let [slopes, limits] = tried(count, &mut dice);
        slopes.hold_ninety_five(&format!("slope of {count} days"));
        together = together.with(limits);
    }
    together.hold_ninety_five("days to a limit");
}

/// The page says so: of so few days nobody can tell how alike they are.
#[test]
fn a_slope_of_a_week_is_a_little_surer_than_it_should_be_where_days_are_alike() {
    let mut dice = Dice::new(11);
    let [slopes, _] = tried(7, &mut dice);
    slopes.hold("slope of 7 days", (0.85, 1.0));
}
