//! Holds the buckets of a series against the readings that lie in them.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use num_traits::{AsPrimitive as _, ToPrimitive as _};
use serde_json::{Value, json};

use super::asked::Asked;
use super::recorded::{Reading, Recorded, micros};

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

fn len(values: &[f64]) -> f64 {
    values.len().as_()
}

/// One group of an answer, and what it is to be.
pub(super) struct Group<'a> {
    pub(super) recorded: &'a Recorded,
    pub(super) asked: &'a Asked,
    pub(super) told: &'a Value,
    pub(super) readings: &'a [&'a Reading],
    pub(super) zone: Tz,
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
            if of.is_empty() {
                assert_eq!(bucket["isFilled"], true, "{bucket}");
                let is_zero = self.asked.fill == "ZERO";
                let empty = if is_zero { json!(0.0) } else { Value::Null };
                assert_eq!(bucket["count"], empty);
                continue;
            }
            self.bucket(bucket, &of, &growth);
        }
        assert_eq!(found, told.len(), "every reading is in one bucket");
        near(&self.told["total"]["count"], told.len().as_());
    }

    fn bucket(&self, bucket: &Value, of: &[&Reading], growth: &BTreeMap<(usize, i64), i64>) {
        let mut values: Vec<f64> = of.iter().filter_map(|r| self.value(r)).collect();
        near(&bucket["count"], len(&values));
        let measure = self.measure();
        if measure == "READINGS" {
            assert_eq!(bucket["events"], values.len().to_string());
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
        let off = number(&bucket["increase"]) - grown / scale;
        let asked = self.asked.variables();
        assert!(off.abs() < 1e-3, "{asked} {bucket} {grown} {of:#?}");
        assert_eq!(bucket["avg"], Value::Null);
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
    for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
        let place = (share * (len(values) - 1.0)).floor();
        let value = values[place.to_usize().unwrap()];
        let off = (number(&bucket[name]) - value).abs();
        assert!(off <= value * 0.010_001, "{bucket} {value}");
    }
}
