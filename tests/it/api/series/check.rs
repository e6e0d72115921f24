//! Holds the buckets of a series against the readings that lie in them.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use num_traits::{AsPrimitive as _, ToPrimitive as _};
use serde_json::{Value, json};

use super::asked::Asked;
use super::recorded::{DEVICES, KINDS, MICROS, Reading, Recorded, SITES, micros};

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn near(value: &Value, expected: f64) {
    let off = (number(value) - expected).abs();
    assert!(
        off <= expected.abs().max(1.0) * 1e-9,
        "{value} is not {expected}"
    );
}

/// The same, however small it is.
fn alike(value: &Value, expected: f64) {
    let off = (number(value) - expected).abs();
    assert!(off <= expected.abs() * 1e-9, "{value} is not {expected}");
}

fn len(values: &[f64]) -> f64 {
    values.len().as_()
}

/// One group of an answer, and what it is to be.
pub(super) struct Group<'a> {
    /// What its readings have in common, and the currency of what is money.
    pub(super) key: &'a [String],
    pub(super) currency: Option<&'a str>,
    pub(super) recorded: &'a Recorded,
    pub(super) asked: &'a Asked,
    pub(super) told: &'a Value,
    pub(super) readings: &'a [&'a Reading],
    pub(super) zone: Tz,
    /// What is to come is not expected yet.
    pub(super) now: i64,
}

impl Group<'_> {
    fn measure(&self) -> &str {
        self.told["measure"].as_str().unwrap()
    }

    fn value(&self, reading: &Reading) -> Option<f64> {
        match self.measure() {
            "CPU_PERCENT" => reading.cpu,
            "TRANSACTION_COUNT" => reading.sales.map(num_traits::AsPrimitive::as_),
            "TRANSACTION_VOLUME" => {
                let units: f64 = reading.volume?.as_();
                Some(units / 10_000.0)
            }
            _ => Some(1.0),
        }
    }

    /// Checks the group.
    pub(super) fn check(&self) {
        let growth = match self.measure() {
            "TRANSACTION_COUNT" => self.recorded.growth(|reading| reading.sales),
            _ => self.recorded.growth(|reading| reading.volume),
        };
        let told = self.readings.iter().filter(|r| self.value(r).is_some());
        let told: Vec<&Reading> = told.copied().collect();
        let mut found = 0;
        for bucket in self.told["buckets"].as_array().unwrap() {
            let instant = |name: &str| micros(bucket[name].as_str().unwrap());
            let (start, end) = (instant("start"), instant("end"));
            let label = |at: i64| self.asked.label(at, self.zone);
            assert_eq!(label(start), label(end - 1), "{bucket}");
            let of = told.iter().filter(|r| (start..end).contains(&r.at));
            let of: Vec<&Reading> = of.copied().collect();
            found += of.len();
            assert_eq!(bucket["isFilled"], of.is_empty(), "{bucket}");
            self.coverage(bucket, (start, end), of.len());
            if !of.is_empty() {
                self.bucket((bucket, (start, end)), &of, &growth);
            }
        }
        assert_eq!(found, told.len(), "every reading is in one bucket");
        let (total, range) = (&self.told["total"], (self.asked.from, self.asked.to));
        let instant = |name: &str| micros(total[name].as_str().unwrap());
        assert_eq!((instant("start"), instant("end")), range, "{total}");
        assert_eq!(total["isFilled"], false, "{total}");
        self.bucket((total, range), &told, &growth);
        self.coverage(total, range, told.len());
        filled(self.told["buckets"].as_array().unwrap(), self.asked.fill);
    }

    /// Checks how much was expected of some time, and how much of that has come.
    fn coverage(&self, bucket: &Value, (start, end): (i64, i64), received: usize) {
        let until = self.asked.to.min(self.now);
        let within = (start.max(self.asked.from), end.min(until));
        let mut expected = 0.0;
        for (device, kind) in KINDS.iter().enumerate().take(DEVICES) {
            let seconds = kind.2.unwrap_or(30);
            for (from, until, site) in self.recorded.served(device) {
                let time = until.min(within.1) - from.max(within.0);
                if time > 0 && self.is_of(device, site) {
                    let (time, every): (f64, f64) = (time.as_(), (seconds * MICROS).as_());
                    expected += time / every;
                }
            }
        }
        let asked = self.asked.variables();
        let off = (number(&bucket["expected"]) - expected).abs();
        assert!(off < 1e-6, "{asked} {bucket} {expected}");
        if expected == 0.0 {
            assert_eq!(bucket["coverage"], Value::Null, "{bucket}");
        } else {
            let received: f64 = received.as_();
            near(&bucket["coverage"], received / expected);
        }
    }

    /// Whether a device at a site is one of the group.
    fn is_of(&self, device: usize, site: usize) -> bool {
        let key: Vec<String> = self.asked.key_of(device, site);
        let currency = self.currency;
        self.asked.is_of(device, site)
            && key == self.key
            && currency.is_none_or(|currency| currency == SITES[site].2)
    }

    /// Checks by how much something grew, and how much that is in a second of what of a time is asked for and past.
    fn grown(&self, bucket: &Value, (start, end): (i64, i64), increase: f64) {
        alike(&bucket["increase"], increase);
        let until = end.min(self.asked.to).min(self.now);
        let micros: f64 = (until - start.max(self.asked.from)).as_();
        if micros > 0.0 {
            alike(&bucket["rate"], increase / (micros / 1e6));
        } else {
            assert_eq!(bucket["rate"], Value::Null, "{bucket}");
        }
    }

    /// Checks what is told of the readings of some time, which are in its order.
    fn bucket(
        &self,
        (bucket, time): (&Value, (i64, i64)),
        of: &[&Reading],
        growth: &BTreeMap<(usize, i64), i64>,
    ) {
        let mut values: Vec<f64> = of.iter().filter_map(|r| self.value(r)).collect();
        near(&bucket["count"], len(&values));
        let measure = self.measure();
        if measure == "READINGS" {
            assert_eq!(bucket["events"], values.len().to_string());
            self.grown(bucket, time, len(&values));
            return;
        }
        let at = |at: i64| {
            let at = of.iter().filter(move |r| r.at == at);
            at.filter_map(|r| self.value(r))
        };
        let first = at(of[0].at).fold(f64::INFINITY, f64::min);
        let last = at(of[of.len() - 1].at).fold(f64::NEG_INFINITY, f64::max);
        values.sort_by(f64::total_cmp);
        let same = [
            ("first", first),
            ("last", last),
            ("min", values[0]),
            ("max", values[values.len() - 1]),
        ];
        for (name, value) in same {
            assert_eq!(
                number(&bucket[name]).to_bits(),
                value.to_bits(),
                "{bucket} {name}"
            );
        }
        if measure == "CPU_PERCENT" {
            gauge(bucket, &values);
            return;
        }
        let scale = if measure == "TRANSACTION_COUNT" {
            1.0
        } else {
            10_000.0
        };
        let grown: i64 = of.iter().map(|r| growth[&(r.device, r.at)]).sum();
        let grown: f64 = grown.as_();
        self.grown(bucket, time, grown / scale);
        assert_eq!(bucket["avg"], Value::Null);
    }
}

/// What is told of values, and of a bucket that is filled.
const NUMBERS: [&str; 12] = [
    "count", "sum", "avg", "min", "max", "first", "last", "stddev", "increase", "rate", "p50",
    "p95",
];

/// Checks that what stands in buckets in which nothing was said follows from those in which something was.
fn filled(buckets: &[Value], fill: &str) {
    let is_said = |bucket: &&Value| bucket["isFilled"] == false;
    let middle = |bucket: &Value| {
        let at = |name: &str| -> f64 { micros(bucket[name].as_str().unwrap()).as_() };
        f64::midpoint(at("start"), at("end"))
    };
    for (place, bucket) in buckets.iter().enumerate() {
        if is_said(&bucket) {
            continue;
        }
        assert_ne!(fill, "NONE", "{bucket}");
        assert_eq!(bucket["events"], "0");
        let before = buckets[..place].iter().rfind(is_said);
        let after = buckets[place..].iter().find(is_said);
        for name in NUMBERS {
            let said = |bucket: Option<&Value>| bucket.map(|bucket| bucket[name].clone());
            let (held, next) = (said(before), said(after));
            match (fill, held, next) {
                ("PREVIOUS", held, _) => assert_eq!(bucket[name], held.unwrap_or_default()),
                ("ZERO", _, _) => {
                    let makes_sense = buckets.iter().filter(is_said).any(|b| !b[name].is_null());
                    let zero = if makes_sense { json!(0.0) } else { Value::Null };
                    assert_eq!(bucket[name], zero, "{name}");
                }
                ("LINEAR", Some(held), Some(next)) if !held.is_null() => {
                    let (from, to) = (middle(before.unwrap()), middle(after.unwrap()));
                    let way = (middle(bucket) - from) / (to - from);
                    let (held, next) = (number(&held), number(&next));
                    near(&bucket[name], held + (next - held) * way);
                }
                _ => assert_eq!(bucket[name], Value::Null, "{name}"),
            }
        }
    }
}

/// Checks what only a gauge has; the values are in order.
fn gauge(bucket: &Value, values: &[f64]) {
    let sum: f64 = values.iter().sum();
    let mean = sum / len(values);
    near(&bucket["sum"], sum);
    near(&bucket["avg"], mean);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / len(values)).sqrt();
    let off = (number(&bucket["stddev"]) - deviation).abs();
    assert!(off < 1e-5, "{bucket} {deviation}");
    assert_eq!(bucket["increase"], Value::Null);
    assert_eq!(bucket["rate"], Value::Null);
    for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
        let place = (share * (len(values) - 1.0)).floor();
        let value = values[place.to_usize().unwrap()];
        let off = (number(&bucket[name]) - value).abs();
        assert!(off <= value * 0.010_001, "{bucket} {value}");
    }
}
