//! Events of every kind, made from what the kinds say of themselves.

use homepot_analytics::event::{Cell, Fact, NewEvent, Provenance};
use homepot_analytics::kinds::{Field, Kind, Origin, Type, check};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::events::{at, uuid};

/// Texts that are compared differently by locale, case or pattern, if anything is.
const TEXTS: [&str; 12] = [
    "a", "A", "ab", "Ab c", "b", "_", "%", "100%_x", "\\", "'; --", "Äpfel", "äPFEL",
];

/// A value that a field may have, out of few, so that values meet.
pub(crate) fn value(ty: Type, random: &mut StdRng) -> Cell {
    let text = |words: &[&str], random: &mut StdRng| Cell::from(*words.choose(random).unwrap());
    let whole = |min: i64, max: i64, random: &mut StdRng| {
        let numbers = [min, min + 1, min + 2, min.midpoint(max), max - 1, max];
        Cell::Int(*numbers.choose(random).unwrap())
    };
    match ty {
        Type::Device | Type::NewDevice => {
            Cell::reference(["d1", "d2", "d3"].choose(random).unwrap())
        }
        Type::Site | Type::NewSite => Cell::reference(["s1", "s2"].choose(random).unwrap()),
        Type::Text { .. } => text(&TEXTS, random),
        Type::Enum(set) => {
            let (word, _) = set.values.choose(random).unwrap();
            Cell::from(*word)
        }
        Type::Float { min, max } => {
            let numbers = [min, min + 0.1, min + 1.0 / 3.0, min.midpoint(max), max];
            Cell::Float(*numbers.choose(random).unwrap())
        }
        Type::Int { min, max } | Type::Long { min, max } => whole(min, max, random),
        Type::Money => {
            let units = [
                -i64::MAX,
                -1,
                0,
                1,
                12_345,
                9_007_199_254_740_991_234,
                i64::MAX,
            ];
            Cell::Int(*units.choose(random).unwrap())
        }
        Type::Bool => Cell::Int(i64::from(random.random_bool(0.5))),
        Type::Json { .. } => Cell::from(json!({"n": 0.1, "t": TEXTS, "o": [null, true]})),
        Type::Date => text(&["2026-01-01", "2026-12-25", "2027-02-28"], random),
        Type::LocalTime => text(&["00:00:00", "08:30:00", "24:00:00"], random),
        Type::TimeZone => text(&["UTC", "Europe/London", "Asia/Kolkata"], random),
        Type::Currency => text(&["EUR", "GBP"], random),
        Type::Windows => Cell::from(json!([{"start": "12:00:00", "end": "14:00:00"}])),
        Type::Services => Cell::from(json!({"till": "UP", "printer": "DOWN"})),
        Type::Tags => Cell::from(json!(["a", "b"])),
    }
}

fn cell(kind: Kind, field: &Field, random: &mut StdRng) -> Cell {
    // a schedule is for a day or for a date
    let left_out = kind == Kind::SiteSchedule && field.name == "date";
    let always = kind == Kind::SiteSchedule
        && matches!(field.name, "dayOfWeek" | "openTime" | "closeTime")
        || kind == Kind::UserActivity && field.name == "name";
    let given = match field.origin {
        Origin::Required => true,
        Origin::Optional => always || !left_out && random.random_bool(0.6),
        Origin::FilledIn => false,
    };
    if given {
        value(field.ty, random)
    } else {
        Cell::Null
    }
}

/// Events of a kind, each at an instant of its own but for pairs that share one.
pub(crate) fn samples(kind: Kind, events: u32, seed: u64) -> Vec<NewEvent> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut event = |ordinal: u32| {
        let fields = kind.spec().fields.iter();
        let mut cells: Vec<Cell> = fields.map(|field| cell(kind, field, &mut random)).collect();
        if matches!(kind, Kind::ConfigurationChange | Kind::ConfigurationSetting) {
            let known = matches!(cells[0].text(), Some("DEVICE" | "SITE"));
            let id = if cells[0].text() == Some("SITE") {
                "s1"
            } else {
                "d1"
            };
            cells[1] = Cell::from(if known { id } else { "system" });
        }
        // metrics of one device at one instant would be repeats
        let step = if kind == Kind::DeviceMetrics {
            ordinal
        } else {
            ordinal / 2
        };
        let mut fact = Fact {
            kind,
            event_id: random.random_bool(0.5).then(|| uuid(random.random())),
            occurred_at: at("2026-01-31T23:59:50.000001Z").plus_ms(i64::from(step) * 777),
            provenance: Provenance::ALL[random.random_range(0..3)],
            cells: cells.into_boxed_slice(),
            extra: random.random_bool(0.2).then(|| json!({"x": 1.5})).into(),
        };
        check(&mut fact).unwrap();
        let occurred_at_given = true;
        NewEvent {
            fact,
            occurred_at_given,
            refused_if_new: None,
        }
    };
    (0..events).map(&mut event).collect()
}
