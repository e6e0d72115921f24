//! How many messages a body of OTLP has, before it is read: an empty one takes two bytes on its way, and a
//! hundred and more in memory.
//!
//! It knows the messages that may be repeated (opentelemetry-proto, `metrics.proto`, `logs.proto` and
//! `common.proto`), and passes over everything else.

/// A message, by the fields in which it has others.
struct Shape(&'static [(u64, &'static Shape)]);

/// Levels of messages in each other at most: the decoder has no more.
const LEVELS_MAX: usize = 100;

const LEAF: Shape = Shape(&[]);
static ANY: Shape = Shape(&[(5, &LIST), (6, &ATTRIBUTES)]);
static LIST: Shape = Shape(&[(1, &ANY)]);
static ATTRIBUTES: Shape = Shape(&[(1, &ATTRIBUTE)]);
static ATTRIBUTE: Shape = Shape(&[(2, &ANY)]);
static RESOURCE: Shape = Shape(&[(1, &ATTRIBUTE), (3, &ENTITY)]);
static ENTITY: Shape = Shape(&[(3, &LEAF), (4, &LEAF)]);
static SCOPE: Shape = Shape(&[(3, &ATTRIBUTE)]);
static EXEMPLAR: Shape = Shape(&[(7, &ATTRIBUTE)]);
static NUMBER: Shape = Shape(&[(7, &ATTRIBUTE), (5, &EXEMPLAR)]);
static HISTOGRAM_POINT: Shape = Shape(&[(9, &ATTRIBUTE), (8, &EXEMPLAR)]);
static EXPONENTIAL_POINT: Shape = Shape(&[(1, &ATTRIBUTE), (11, &EXEMPLAR)]);
static SUMMARY_POINT: Shape = Shape(&[(7, &ATTRIBUTE), (6, &LEAF)]);
static NUMBERS: Shape = Shape(&[(1, &NUMBER)]);
static HISTOGRAM: Shape = Shape(&[(1, &HISTOGRAM_POINT)]);
static EXPONENTIAL: Shape = Shape(&[(1, &EXPONENTIAL_POINT)]);
static SUMMARY: Shape = Shape(&[(1, &SUMMARY_POINT)]);
static METRIC: Shape = Shape(&[
    (5, &NUMBERS),
    (7, &NUMBERS),
    (9, &HISTOGRAM),
    (10, &EXPONENTIAL),
    (11, &SUMMARY),
    (12, &ATTRIBUTE),
]);
static SCOPE_METRICS: Shape = Shape(&[(1, &SCOPE), (2, &METRIC)]);
static RESOURCE_METRICS: Shape = Shape(&[(1, &RESOURCE), (2, &SCOPE_METRICS)]);
static METRICS: Shape = Shape(&[(1, &RESOURCE_METRICS)]);
static RECORD: Shape = Shape(&[(5, &ANY), (6, &ATTRIBUTE)]);
static SCOPE_LOGS: Shape = Shape(&[(1, &SCOPE), (2, &RECORD)]);
static RESOURCE_LOGS: Shape = Shape(&[(1, &RESOURCE), (2, &SCOPE_LOGS)]);
static LOGS: Shape = Shape(&[(1, &RESOURCE_LOGS)]);

/// How many messages a request of metrics has; `None` if it is none.
pub(super) fn of_metrics(body: &[u8]) -> Option<usize> {
    messages(body, &METRICS, 0)
}

/// How many messages a request of logs has; `None` if it is none.
pub(super) fn of_logs(body: &[u8]) -> Option<usize> {
    messages(body, &LOGS, 0)
}

fn messages(mut rest: &[u8], shape: &Shape, level: usize) -> Option<usize> {
    if level > LEVELS_MAX {
        return None;
    }
    let mut found = 0;
    while !rest.is_empty() {
        let tag = number(&mut rest)?;
        match tag & 7 {
            0 => drop(number(&mut rest)?),
            1 => rest = rest.get(8..)?,
            5 => rest = rest.get(4..)?,
            2 => {
                let length = usize::try_from(number(&mut rest)?).ok()?;
                let (inner, after) = rest.split_at_checked(length)?;
                rest = after;
                let field = shape.0.iter().find(|(field, _)| *field == tag >> 3);
                if let Some((_, shape)) = field {
                    found += 1 + messages(inner, shape, level + 1)?;
                }
            }
            _ => return None,
        }
    }
    Some(found)
}

/// A number of 64 bits at most, in groups of seven.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
    };
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_message_counts_however_small() {
        let attribute = KeyValue {
            key: "state".to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue("used".to_owned())),
            }),
            ..KeyValue::default()
        };
        let point = NumberDataPoint {
            attributes: vec![attribute],
            ..NumberDataPoint::default()
        };
        let metric = Metric {
            data: Some(Data::Gauge(Gauge {
                data_points: vec![point, NumberDataPoint::default()],
            })),
            ..Metric::default()
        };
        let scope = ScopeMetrics {
            metrics: vec![metric],
            ..ScopeMetrics::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics: vec![scope],
                ..ResourceMetrics::default()
            }],
        };
        // the resource, the scope, the metric, its gauge, two points, an attribute and its value
        assert_eq!(of_metrics(&request.encode_to_vec()), Some(8));
    }

    #[test]
    fn what_is_cut_off_or_without_end_is_none() {
        assert_eq!(of_metrics(&[]), Some(0));
        assert_eq!(of_metrics(&[0x0a, 0x05, 0x00]), None);
        assert_eq!(of_metrics(&[0x0a]), None);
        assert_eq!(of_metrics(&[0xff; 11]), None);
        assert_eq!(of_metrics(&[0x0b]), None);
        // lists of lists, as the body of a record
        let mut body = Vec::new();
        for _ in 0..200 {
            body = [framed(1, &[]), framed(5, &framed(1, &body))].concat();
        }
        let record = framed(1, &framed(2, &framed(2, &framed(5, &body))));
        assert_eq!(of_logs(&record), None);
    }

    fn framed(field: u8, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![field << 3 | 2];
        let mut length = inner.len();
        while length > 0x7f {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        out.extend_from_slice(inner);
        out
    }
}
