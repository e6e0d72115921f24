//! The value of a measure, put together of the points that say something of it.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use serde_json::Value as Json;

use super::attributes::{first, text};
use super::table::Form;

const CPUS: [&str; 4] = [
    "cpu.logical_number",
    "system.cpu.logical_number",
    "cpu",
    "core",
];
const CPU_STATES: [&str; 4] = ["cpu.mode", "system.cpu.state", "state", "mode"];
const MEMORY_STATES: [&str; 2] = ["system.memory.state", "state"];
const DISK_STATES: [&str; 2] = ["system.filesystem.state", "state"];
const DISKS: [&str; 4] = [
    "system.filesystem.mountpoint",
    "mountpoint",
    "path",
    "mount_point",
];
const CONNECTION_STATES: [&str; 3] = ["network.connection.state", "system.network.state", "state"];
/// Where a machine has its own files.
const ROOTS: [&str; 4] = ["/", "C:", "C:\\", "c:"];

/// A point of a metric, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<'a> {
    pub(super) form: Form,
    pub(super) unit: &'a str,
    pub(super) value: Number,
    pub(super) attributes: &'a [KeyValue],
}

/// Why a point says nothing.
pub(super) const TWICE: &str = "is given more than once for one device and instant";

/// What points have said of a measure so far.
#[derive(Clone, Debug)]
pub(super) enum Measured {
    /// One point said it.
    One(Json),
    /// The time that each processor has spent in states.
    Processors(BTreeMap<String, Processor>),
    /// In percent: of the file system with the machine's own files, and of the fullest.
    Disks { root: Option<f64>, fullest: f64 },
    /// What adds up.
    Sum(f64),
}

/// The shares of 1 of its time that a processor was idle, and that it was not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Processor {
    idle: Option<f64>,
    busy: f64,
}

/// What a point adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Something.
    Taken,
    /// Nothing, and it need not: it is of a state that does not count.
    Passed,
    /// Nothing, since another has said it.
    Twice,
}

impl Measured {
    /// Adds what a point says to what is known.
    pub(super) fn add(known: &mut Option<Self>, point: Point<'_>) -> Added {
        let number = float(point.value);
        let counts = |states: &[&str], counted: &str| {
            let state = first(point.attributes, states);
            state.is_none_or(|state| state.eq_ignore_ascii_case(counted))
        };
        match point.form {
            Form::OfProcessors => Self::of_processor(known, point, number),
            Form::IdleOfProcessors => Self::of_telegraf(known, point, number / 100.0),
            Form::OfMemory if !counts(&MEMORY_STATES, "used") => Added::Passed,
            Form::OfDisks | Form::PercentOfDisks if !counts(&DISK_STATES, "used") => Added::Passed,
            Form::OfConnections if !counts(&CONNECTION_STATES, "established") => Added::Passed,
            Form::OfMemory => Self::once(known, percent(number * 100.0)),
            Form::OfDisks => Self::of_disk(known, point, number * 100.0),
            Form::PercentOfDisks => Self::of_disk(known, point, number),
            Form::OfConnections => {
                let Self::Sum(sum) = known.get_or_insert(Self::Sum(0.0)) else {
                    return Added::Twice;
                };
                *sum += number;
                Added::Taken
            }
            Form::Percent if point.unit == "1" => Self::once(known, percent(number * 100.0)),
            Form::Percent => Self::once(known, percent(number)),
            Form::Milliseconds => {
                let milliseconds = number * seconds_of(point.unit).map_or(1.0, |of| of * 1e3);
                Self::once(known, Json::from(milliseconds))
            }
            Form::Seconds => {
                let seconds = number * seconds_of(point.unit).unwrap_or(1.0);
                Self::once(known, Json::from(seconds.floor()))
            }
            Form::Plain => Self::once(known, plain(point.value)),
        }
    }

    fn once(known: &mut Option<Self>, value: Json) -> Added {
        if known.is_some() {
            return Added::Twice;
        }
        *known = Some(Self::One(value));
        Added::Taken
    }

    fn of_processor(known: &mut Option<Self>, point: Point<'_>, share: f64) -> Added {
        let Self::Processors(all) = known.get_or_insert(Self::Processors(BTreeMap::new())) else {
            return Added::Twice;
        };
        let cpu = CPUS.iter().find_map(|key| label(point.attributes, key));
        let processor = all.entry(cpu.unwrap_or_default()).or_default();
        match first(point.attributes, &CPU_STATES) {
            Some("idle") => processor.idle = Some(share),
            _ => processor.busy += share,
        }
        Added::Taken
    }

    /// Telegraf tells of all processors together too, as another processor.
    fn of_telegraf(known: &mut Option<Self>, point: Point<'_>, idle: f64) -> Added {
        const TOGETHER: &str = "cpu-total";
        let Self::Processors(all) = known.get_or_insert(Self::Processors(BTreeMap::new())) else {
            return Added::Twice;
        };
        let cpu = text(point.attributes, "cpu").unwrap_or(TOGETHER);
        if all.contains_key(TOGETHER) {
            return Added::Passed;
        }
        if cpu == TOGETHER {
            all.clear();
        }
        let idle = Some(idle);
        all.insert(cpu.to_owned(), Processor { idle, busy: 0.0 });
        Added::Taken
    }

    fn of_disk(known: &mut Option<Self>, point: Point<'_>, used: f64) -> Added {
        let begun = Self::Disks {
            root: None,
            fullest: used,
        };
        let Self::Disks { root, fullest } = known.get_or_insert(begun) else {
            return Added::Twice;
        };
        let mounted = first(point.attributes, &DISKS);
        if mounted.is_some_and(|mounted| ROOTS.contains(&mounted)) {
            *root = Some(used);
        }
        *fullest = fullest.max(used);
        Added::Taken
    }

    /// The value, as it is on the wire.
    pub(super) fn json(&self) -> Json {
        match self {
            Self::One(value) => value.clone(),
            Self::Sum(sum) => Json::from(*sum),
            Self::Disks { root, fullest } => percent(root.unwrap_or(*fullest)),
            Self::Processors(all) => {
                let busy = all.values().map(Processor::busy).sum::<f64>();
                let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
                percent(busy * 100.0 / f64::from(count.max(1)))
            }
        }
    }
}

impl Processor {
    fn busy(&self) -> f64 {
        self.idle.map_or(self.busy, |idle| 1.0 - idle)
    }
}

/// The name of a processor, which may be a number.
fn label(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(super::attributes::json(attribute.value.as_ref()?).to_string())
}

/// What shares add up to is rounded by some billionths.
fn percent(percent: f64) -> Json {
    Json::from((percent * 1e6).round() / 1e6)
}

/// How many seconds a unit of time has (UCUM); `None` if it is none.
fn seconds_of(unit: &str) -> Option<f64> {
    match unit {
        "s" => Some(1.0),
        "ms" => Some(1e-3),
        "us" => Some(1e-6),
        "ns" => Some(1e-9),
        "min" => Some(60.0),
        "h" => Some(3_600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}

/// A number as it is; what is a whole one is written so.
fn plain(value: Number) -> Json {
    match value {
        Number::AsInt(number) => Json::from(number),
        Number::AsDouble(number) => Json::from((number * 1e4).round() / 1e4),
    }
}

fn float(value: Number) -> f64 {
    match value {
        Number::AsDouble(number) => number,
        // to the nearest of the numbers that a float has
        Number::AsInt(number) => number.to_string().parse().unwrap_or(f64::NAN),
    }
}
