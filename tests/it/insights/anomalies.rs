//! The range in which a measure is expected, of series with a rhythm of the week.

use chrono_tz::Tz;
use homepot_analytics::event::Instant;
use homepot_analytics::insights::anomaly::{References, State, Subject, fold, read};
use homepot_analytics::insights::input::{DAY, HOUR, Hour, Measure, Sample};

use super::{Dice, MONDAY, Tries};

/// A measure about a profile of the week.
struct Series {
    profile: Vec<f64>,
    /// Of the hours, and of the values within an hour.
    noise: (f64, f64),
    /// How alike hours are that follow each other.
    likeness: f64,
    about: f64,
}

impl Series {
    fn new(rhythm: f64, noise: (f64, f64), likeness: f64, dice: &mut Dice) -> Self {
        let (day, week) = (dice.between(0.0, 24.0), rhythm / 4.0);
        let by_day: Vec<f64> = (0..7).map(|_| week * dice.normal()).collect();
        let of = |cell: u32| {
            let turn = std::f64::consts::TAU * (f64::from(cell % 24) - day) / 24.0;
            100.0 + rhythm * turn.cos() + by_day[usize::try_from(cell / 24).unwrap()]
        };
        Self {
            profile: (0..168).map(of).collect(),
            noise,
            likeness,
            about: 0.0,
        }
    }

    /// The values of the next hour.
    fn hour(&mut self, number: i64, dice: &mut Dice) -> [f64; 4] {
        let (of_hour, of_value) = self.noise;
        let free = (1.0 - self.likeness * self.likeness).sqrt();
        self.about = self.likeness * self.about + free * of_hour * dice.normal();
        let usual = self.profile[usize::try_from(number.rem_euclid(168)).unwrap()] + self.about;
        [(); 4].map(|()| usual + of_value * dice.normal())
    }
}

fn summed(start: Instant, values: &[f64]) -> Hour {
    Hour {
        start,
        count: u32::try_from(values.len()).unwrap(),
        sum: values.iter().sum(),
        sum_squares: values.iter().map(|value| value * value).sum(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        increase: 0.0,
    }
}

/// Of series about a rhythm, whether the next value was in the range: within the first four days, and later.
fn tried(rhythm: f64, noise: (f64, f64), likeness: f64, dice: &mut Dice) -> [Tries; 2] {
    let subject = Subject {
        measure: Measure::NetworkLatencyMs,
        zone: Tz::UTC,
        references: References {
            site: None,
            fleet: None,
        },
    };
    let (mut early, mut late) = (Tries::default(), Tries::default());
    for _ in 0..12 {
        let mut series = Series::new(rhythm, noise, likeness, dice);
        let mut state = State::default();
        for number in 0..6 * 168 {
            let start = Instant(i64::from(MONDAY) * DAY + number * HOUR);
            let values = series.hour(number, dice);
            let is_early = number < 96;
            if state.is_warm() && (is_early || number % 7 == 0) {
                let at = Instant(start.0 + HOUR / 2);
                let value = values[0];
                let said = read(&state, &subject, &[Sample { at, value }], at);
                let had = if is_early { &mut early } else { &mut late };
                had.look(said.interval.unwrap(), value);
            }
            let hour = summed(start, &values);
            fold(&mut state, subject.measure, subject.zone, &hour);
        }
    }
    [early, late]
}

#[test]
fn the_next_value_lies_in_the_range_that_is_usual() {
    let mut dice = Dice::new(8);
    for (rhythm, noise, likeness) in [
        (0.0, (3.0, 3.0), 0.0),
        (20.0, (3.0, 3.0), 0.0),
        (20.0, (4.0, 1.0), 0.7),
    ] {
        let [early, late] = tried(rhythm, noise, likeness, &mut dice);
        let of = format!("a rhythm of {rhythm} and a likeness of {likeness}");
        early.hold_ninety(&format!("value of the first days, {of}"));
        late.hold_ninety(&format!("value later, {of}"));
    }
}

/// The page says so: the range follows slowly as the hours of the week are learned.
#[test]
fn the_range_about_a_strong_rhythm_is_wider_than_it_need_be() {
    let [_, late] = tried(60.0, (3.0, 3.0), 0.0, &mut Dice::new(12));
    late.hold("value about a strong rhythm", (0.94, 0.99));
}
