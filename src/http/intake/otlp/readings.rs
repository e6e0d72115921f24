//! Makes readings of devices of the points of metrics: those of one device and instant are one event.
//!
//! An exporter may send the measures of an instant in several requests, so what comes by this way is a part
//! of a reading, numbered by the set of its measures: a repeat has the same number, and other measures have
//! another. Some clients give each measure an instant of its own; within a second they are put together.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Metric, NumberDataPoint,
};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::attributes::{device, of_resource};
use super::measured::{Added, Measured, Point, TWICE};
use super::refused::Refused;
use super::table;
use crate::event::{Instant, NewEvent};
use crate::identity::Reach;
use crate::kinds::{Kind, Refusal, check, parse};
use crate::store::Names;

/// How far apart the instants of measures may be that are one reading.
const TOGETHER_MS: i64 = 1_000;

/// What points have said of a device at an instant: each measure by its field, with its points.
type Measures = BTreeMap<&'static str, (Option<Measured>, i64)>;

/// A reading that is to be recorded, and of how many points it is made.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) event: NewEvent,
    pub(super) points: i64,
}

/// Makes readings of a request.
pub(super) fn of(
    (names, reach): (&Names, &Reach),
    request: &ExportMetricsServiceRequest,
    refused: &mut Refused,
) -> Vec<Reading> {
    let mut gathering = Gathering {
        names,
        reach,
        found: BTreeMap::new(),
        refused,
    };
    for of_resource_metrics in &request.resource_metrics {
        let resource = of_resource(of_resource_metrics.resource.as_ref());
        let scopes = of_resource_metrics.scope_metrics.iter();
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            gathering.metric(metric, resource);
        }
    }
    let found = together(gathering.found);
    let reading = |((device, at), measures): ((String, Instant), Measures)| {
        reading((device.as_str(), at), measures, refused)
    };
    found.into_iter().filter_map(reading).collect()
}

struct Gathering<'a> {
    names: &'a Names,
    reach: &'a Reach,
    found: BTreeMap<(String, Instant), Measures>,
    refused: &'a mut Refused,
}

impl Gathering<'_> {
    fn metric(&mut self, metric: &Metric, resource: &[KeyValue]) {
        let name = metric.name.as_str();
        let (points, others, is_delta) = match &metric.data {
            None => return,
            Some(Data::Gauge(gauge)) => (gauge.data_points.as_slice(), 0, false),
            Some(Data::Sum(sum)) => {
                let delta = AggregationTemporality::Delta;
                let is_delta = sum.aggregation_temporality() == delta;
                (sum.data_points.as_slice(), 0, is_delta)
            }
            Some(Data::Histogram(of)) => (&[][..], of.data_points.len(), false),
            Some(Data::ExponentialHistogram(of)) => (&[][..], of.data_points.len(), false),
            Some(Data::Summary(of)) => (&[][..], of.data_points.len(), false),
        };
        let Some((form, field)) = table::of(name) else {
            let count = i64::try_from(points.len() + others).unwrap_or(i64::MAX);
            return self
                .refused
                .add(name, "is no measure of a device here", count);
        };
        if others > 0 {
            let count = i64::try_from(others).unwrap_or(i64::MAX);
            let reason = "is a histogram or a summary: a gauge or a sum is taken";
            return self.refused.add(name, reason, count);
        }
        if is_delta {
            let count = i64::try_from(points.len()).unwrap_or(i64::MAX);
            let reason = "is a sum of differences: send it cumulative";
            return self.refused.add(name, reason, count);
        }
        for point in points {
            let unit = metric.unit.as_str();
            if let Some(value) = valued(point) {
                let attributes = point.attributes.as_slice();
                let said = Point {
                    form,
                    unit,
                    value,
                    attributes,
                };
                self.point((name, field), (point, resource), said);
            }
        }
    }

    fn point(
        &mut self,
        (name, field): (&str, &'static str),
        (point, resource): (&NumberDataPoint, &[KeyValue]),
        said: Point<'_>,
    ) {
        let Some(at) = instant(point.time_unix_nano) else {
            return self.refused.add(name, "has a point without a time", 1);
        };
        let named = device(self.names, self.reach, (said.attributes, resource));
        let Some(device) = named else {
            let reason = "is of no device: its resource has neither service.instance.id, host.name nor host.id";
            return self.refused.add(name, reason, 1);
        };
        let measures = self.found.entry((device.to_owned(), at)).or_default();
        let (measured, count) = measures.entry(field).or_default();
        match Measured::add(measured, said) {
            Added::Taken => *count += 1,
            Added::Passed => {}
            Added::Twice => self.refused.add(name, TWICE, 1),
        }
    }
}

/// The value of a point, unless it says that there is none.
fn valued(
    point: &NumberDataPoint,
) -> Option<opentelemetry_proto::tonic::metrics::v1::number_data_point::Value> {
    let absent = u32::try_from(i32::from(DataPointFlags::NoRecordedValueMask)).unwrap_or(0);
    point.value.filter(|_| point.flags & absent == 0)
}

/// An instant in nanoseconds; 0 is none.
pub(super) fn instant(nanoseconds: u64) -> Option<Instant> {
    let micros = i64::try_from(nanoseconds / 1_000).ok()?;
    (micros > 0).then_some(Instant(micros))
}

/// Puts readings of a device together that are of nearly the same instant and have no measure in common.
fn together(found: BTreeMap<(String, Instant), Measures>) -> Vec<((String, Instant), Measures)> {
    let mut readings: Vec<((String, Instant), Measures)> = Vec::new();
    for ((device, at), mut measures) in found {
        measures.retain(|_, (measured, _)| measured.is_some());
        if let Some(((of, first), before)) = readings.last_mut()
            && *of == device
            && at < first.plus_ms(TOGETHER_MS)
            && !measures.keys().any(|field| before.contains_key(field))
        {
            before.extend(measures);
        } else if !measures.is_empty() {
            readings.push(((device, at), measures));
        }
    }
    readings
}

/// The event of a reading; measures that are out of their bounds are left out.
fn reading(
    (device, at): (&str, Instant),
    measures: Measures,
    refused: &mut Refused,
) -> Option<Reading> {
    let mut body = Map::new();
    body.insert("deviceId".to_owned(), device.into());
    body.insert("occurredAt".to_owned(), at.to_string().into());
    let mut points = 0;
    let mut fields = Vec::with_capacity(measures.len());
    for (field, (measured, count)) in measures {
        let measured = measured.map_or(Json::Null, |measured| measured.json());
        let mut alone = body.clone();
        alone.retain(|name, _| ["deviceId", "occurredAt"].contains(&name.as_str()));
        alone.insert(field.to_owned(), measured.clone());
        match event(alone, at) {
            Ok(_) => {
                body.insert(field.to_owned(), measured);
                fields.push(field);
                points += count;
            }
            Err(refusal) => refused.add(field, &format!("is refused: {}", refusal.message), count),
        }
    }
    if fields.is_empty() {
        return None;
    }
    body.insert("part".to_owned(), part(&fields).into());
    match event(body, at) {
        Ok(event) => Some(Reading { event, points }),
        Err(refusal) => {
            refused.add(device, &format!("is refused: {}", refusal.message), points);
            None
        }
    }
}

fn event(body: Map<String, Json>, now: Instant) -> Result<NewEvent, Refusal> {
    let mut event = parse(Kind::DeviceMetrics, &Json::Object(body), now)?;
    check(&mut event.fact)?;
    Ok(event)
}

/// Which part of a reading it is that has these measures, in their order: never 0, which is a whole one.
fn part(fields: &[&str]) -> i64 {
    let hash = Sha256::digest(fields.join(","));
    let first = hash.iter().take(4);
    let number = first.fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
    (number & 0x7fff_ffff).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_numbered_by_its_measures() {
        assert_eq!(part(&["cpuPercent"]), part(&["cpuPercent"]));
        assert_ne!(part(&["cpuPercent"]), part(&["cpuPercent", "diskPercent"]));
        // stored numbers hold for ever
        assert_eq!(part(&["cpuPercent"]), 1_422_126_215);
    }

    #[test]
    fn measures_of_nearly_one_instant_are_one_reading() {
        let one = |field, at| {
            let measured = Some(Measured::One(Json::from(1)));
            let measures = Measures::from([(field, (measured, 1))]);
            (("till".to_owned(), Instant(at)), measures)
        };
        let found = [
            one("cpuPercent", 0),
            one("diskPercent", 999_999),
            one("queueDepth", 1_000_000),
            one("queueDepth", 1_500_000),
        ];
        let readings = together(found.into_iter().collect());
        let shown = |((_, at), measures): &((String, Instant), Measures)| (at.0, measures.len());
        let readings: Vec<(i64, usize)> = readings.iter().map(shown).collect();
        assert_eq!(readings, [(0, 2), (1_000_000, 1), (1_500_000, 1)]);
    }
}
