//! What health comes of, in plain sentences: each says what was seen, what is usual, and what is left.

use crate::insights::input::{DAY, HOUR, Measure, State as Reported};
use crate::insights::number::float;
use crate::insights::risk::health::ERROR_BEFORE;
use crate::insights::risk::words::plural;

/// Days to full that are worth a word.
const FULL_DAYS: f64 = 14.0;
/// A factor from which on nothing, or next to nothing, is taken.
const ALL: f64 = 1.0 - 1e-9;
const ALMOST_ALL: f64 = 0.995;

/// What the sentences tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// Whether anything was measured in the last day.
    pub is_measured: bool,
    /// The measure that takes most, if one takes anything.
    pub worst: Option<Worst>,
    /// Days until the disk is full.
    pub full_days: Option<f64>,
    /// Errors and how many are usual.
    pub errors: Errors,
    /// Times that it was down.
    pub down: Down,
    /// The part of the day with data, but for hours without any while its site was closed.
    pub coverage: f64,
    /// How many these are.
    pub hours_off: u32,
}

/// A measure that takes from health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worst {
    /// Which.
    pub measure: Measure,
    /// How far the last day lies above its own level, in usual spreads.
    pub spreads: f64,
    /// What that leaves.
    pub drift_left: f64,
    /// Its highest three hours of the last day, of a part of a whole.
    pub peak: f64,
    /// What is left in all.
    pub left: f64,
}

/// Errors by their weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Of the last 24 hours.
    pub new: f64,
    /// Of the 24 hours before.
    pub before: f64,
    /// How many are expected a day.
    pub expected: f64,
    /// Up to how many are usual on a day.
    pub usual_most: f64,
}

/// Times that a device was down.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Down {
    /// For how many days of the last day, without the time for which it was switched off with its site.
    pub day: f64,
    /// The same of the last week.
    pub week: f64,
    /// How often it went down in the last day.
    pub times: u32,
    /// The state that it is in.
    pub now: Option<Reported>,
    /// Whether it was switched off when its site closed, and that has not opened since.
    pub is_off: bool,
}

fn leaves(left: f64) -> String {
    if left >= ALL {
        " That takes nothing.".to_owned()
    } else if left >= ALMOST_ALL {
        " That takes next to nothing.".to_owned()
    } else if left < 1.0 - ALMOST_ALL {
        " That leaves less than 1 %.".to_owned()
    } else {
        format!(" That leaves {:.0} %.", left * 100.0)
    }
}

/// A time of so many days.
fn time(days: f64) -> String {
    let hours = days * float(DAY) / float(HOUR);
    if hours < 2.0 {
        plural((hours * 60.0).round().max(1.0), "minute")
    } else {
        format!("{hours:.1} hours")
    }
}

pub(super) fn resources_told(told: &Told, left: f64) -> String {
    let mut said: Vec<String> = Vec::new();
    if let Some(worst) = told.worst {
        let name = worst.measure.name();
        if worst.drift_left < 1.0 {
            let way = if worst.spreads > 0.0 {
                "above"
            } else {
                "below"
            };
            let spreads = worst.spreads.abs();
            said.push(format!(
                "{name} was {spreads:.1} usual spreads {way} its own level over the last day."
            ));
        }
        if worst.left < worst.drift_left {
            said.push(format!(
                "{name} came to {:.0} % in its highest three hours of the last day, which is near its limit.",
                worst.peak
            ));
        }
    }
    if let Some(days) = told.full_days.filter(|days| *days < FULL_DAYS) {
        let days = plural(days.max(0.0), "day");
        said.push(format!(
            "The disk is full in {days} if it goes on like this."
        ));
    }
    if said.is_empty() {
        let said = if told.is_measured {
            "All measures are near their own level."
        } else {
            "Nothing was measured in the last day."
        };
        return said.to_owned();
    }
    said.join(" ") + &leaves(left)
}

pub(super) fn errors_told(errors: &Errors, left: f64) -> String {
    let Errors {
        new,
        before,
        expected,
        usual_most,
    } = errors;
    format!(
        "Errors of the last 24 hours weigh {new:.1}, those of the day before {before:.1} (counted by {ERROR_BEFORE:.1}); \
         {expected:.1} a day are expected, and up to {usual_most:.1} are usual (an INFO weighs 0, a WARNING 0.5, an \
         ERROR 1, a CRITICAL 2).{}",
        leaves(left)
    )
}

pub(super) fn stability_told(down: &Down, left: f64) -> String {
    let now = match down.now {
        Some(Reported::Error) => "It is in ERROR now. ",
        Some(Reported::Offline) if down.is_off => "It is OFFLINE now, and its site is closed. ",
        Some(Reported::Offline) => "It is OFFLINE now. ",
        Some(Reported::Online | Reported::Maintenance | Reported::Unknown) | None => "",
    };
    if down.week <= 0.0 && down.times == 0 {
        return if now.is_empty() {
            "It was not down in the last 7 days.".to_owned()
        } else {
            format!("{now}It was not down before.{}", leaves(left))
        };
    }
    let week = time(down.week);
    let times = f64::from(down.times);
    let of_day = if down.times == 0 && down.day <= 0.0 {
        "not in the last 24 hours".to_owned()
    } else {
        let day = time(down.day);
        let times = plural(times, "time");
        format!("{day} of the last 24 hours, in which it went down {times}")
    };
    format!(
        "{now}It was down for {week} of the last 7 days, {of_day}.{}",
        leaves(left)
    )
}

pub(super) fn freshness_told(told: &Told, left: f64) -> String {
    let of = if told.hours_off == 0 {
        "the last 24 hours".to_owned()
    } else {
        let off = plural(f64::from(told.hours_off), "hour");
        format!("the last 24 hours but for {off} in which its site was closed")
    };
    let came = format!("Metrics came in {:.0} % of {of}.", told.coverage * 100.0);
    if left >= ALMOST_ALL {
        return came;
    }
    came + &leaves(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_of_errors_tells_all_that_its_points_come_of() {
        let errors = Errors {
            new: 4.5,
            before: 13.0,
            expected: 3.0,
            usual_most: 4.9,
        };
        let told = errors_told(&errors, 0.668);
        let begins = "Errors of the last 24 hours weigh 4.5, those of the day before 13.0 (counted by 0.3); 3.0 a day \
            are expected, and up to 4.9 are usual (";
        assert!(told.starts_with(begins), "{told}");
        assert!(told.ends_with(" That leaves 67 %."), "{told}");
        let calm = errors_told(&Errors::default(), 1.0);
        assert!(calm.ends_with(" That takes nothing."), "{calm}");
    }

    #[test]
    fn a_measure_is_told_by_how_it_is_unusual_and_not_as_leaving_everything() {
        let mut told = Told {
            worst: Some(Worst {
                measure: Measure::DiskPercent,
                spreads: -2.01,
                drift_left: 0.998,
                peak: 40.0,
                left: 0.998,
            }),
            ..Told::default()
        };
        let said = resources_told(&told, 0.998);
        assert_eq!(
            said,
            "diskPercent was 2.0 usual spreads below its own level over the last day. That takes next to nothing."
        );
        told.worst = told.worst.map(|worst| Worst {
            drift_left: 1.0,
            peak: 93.0,
            left: 0.65,
            ..worst
        });
        let said = resources_told(&told, 0.65);
        assert_eq!(
            said,
            "diskPercent came to 93 % in its highest three hours of the last day, which is near its limit. That \
             leaves 65 %."
        );
        told = Told {
            is_measured: true,
            ..Told::default()
        };
        let said = resources_told(&told, 1.0);
        assert_eq!(said, "All measures are near their own level.");
        let said = resources_told(&Told::default(), 1.0);
        assert_eq!(said, "Nothing was measured in the last day.");
    }

    #[test]
    fn time_down_has_a_unit() {
        let mut down = Down {
            day: 0.4 / 24.0,
            week: 0.4 / 24.0,
            times: 2,
            now: Some(Reported::Online),
            is_off: false,
        };
        let said = stability_told(&down, 0.8);
        assert_eq!(
            said,
            "It was down for 24 minutes of the last 7 days, 24 minutes of the last 24 hours, in which it went down 2 \
             times. That leaves 80 %."
        );
        down.now = Some(Reported::Error);
        assert!(stability_told(&down, 0.2).starts_with("It is in ERROR now. It was down for 24 "));
        let said = stability_told(&Down::default(), 1.0);
        assert_eq!(said, "It was not down in the last 7 days.");
    }
}
