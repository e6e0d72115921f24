//! Makes entries of the error log of log records.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use entity::error_logs::Column;

use super::attributes::{device, first, json, object, of_resource, text};
use super::readings::instant;
use super::refused::Refused;
use crate::event::{Instant, NewEvent, Provenance};
use crate::identity::Reach;
use crate::kinds::{Draft, Kind, Refusal, enums};
use crate::store::{EntityType, Names};

/// Namespace of the ids of records.
const RECORDS: Uuid = Uuid::from_u128(0x5d0f_3b43_7f6e_4f0a_9d6b_6a3d_8c52_e1f7);
/// Bytes at most of what is told beside a record.
const CONTEXT_BYTES_MAX: usize = 65_536;

const MESSAGE: &str = "exception.message";
const STACK: &str = "exception.stacktrace";
const CODES: [&str; 4] = [
    "homepot.error.code",
    "error.code",
    "exception.type",
    "error.type",
];
const USERS: [&str; 2] = ["user.id", "enduser.id"];
const CATEGORIES: [&str; 2] = ["homepot.category", "error.category"];
const ROUTE: &str = "http.route";
/// What has a field of its own.
const KEPT: [&str; 10] = [
    MESSAGE,
    STACK,
    "homepot.error.code",
    "error.code",
    "exception.type",
    "user.id",
    "enduser.id",
    "homepot.category",
    "error.category",
    ROUTE,
];

/// Makes entries of a request.
pub(super) fn of(
    (names, reach): (&Names, &Reach),
    request: &ExportLogsServiceRequest,
    (now, refused): (Instant, &mut Refused),
) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let mut alike = HashMap::new();
    for of_resource_logs in &request.resource_logs {
        let resource = of_resource(of_resource_logs.resource.as_ref());
        let scopes = of_resource_logs.scope_logs.iter();
        for record in scopes.flat_map(|scope| &scope.log_records) {
            let Some(severity) = severity(record) else {
                refused.add("a record", "is below INFO: such are not kept here", 1);
                continue;
            };
            let named = device(names, reach, (&record.attributes, resource));
            // what is of no device of the fleet is of a service
            let of_fleet = named.filter(|id| {
                names.key(EntityType::Device, id).is_some() || matches!(reach, Reach::Device(_))
            });
            let entry = Entry {
                record,
                resource,
                severity,
                device: of_fleet,
            };
            match entry.event(now, &mut alike) {
                Ok(event) => events.push(event),
                Err(refusal) => {
                    refused.add("a record", &format!("is refused: {}", refusal.message), 1);
                }
            }
        }
    }
    events
}

/// How bad a record is, by the numbers of its severity (opentelemetry-proto, `SeverityNumber`), or else by
/// what it says; `None` below INFO.
fn severity(record: &LogRecord) -> Option<&'static str> {
    match record.severity_number {
        21.. => Some("CRITICAL"),
        17..=20 => Some("ERROR"),
        13..=16 => Some("WARNING"),
        9..=12 => Some("INFO"),
        1..=8 => None,
        _ => match record.severity_text.to_ascii_uppercase().as_str() {
            "FATAL" | "CRITICAL" | "EMERGENCY" | "ALERT" => Some("CRITICAL"),
            "ERROR" | "ERR" | "SEVERE" => Some("ERROR"),
            "WARN" | "WARNING" => Some("WARNING"),
            "TRACE" | "DEBUG" => None,
            _ if text(&record.attributes, MESSAGE).is_some() => Some("ERROR"),
            _ => Some("INFO"),
        },
    }
}

struct Entry<'a> {
    record: &'a LogRecord,
    resource: &'a [KeyValue],
    severity: &'static str,
    device: Option<&'a str>,
}

impl Entry<'_> {
    fn event(&self, now: Instant, alike: &mut HashMap<Uuid, u64>) -> Result<NewEvent, Refusal> {
        let record = self.record;
        let of = |keys: &[&str]| first(&record.attributes, keys);
        let given = instant(record.time_unix_nano);
        let at = given.or_else(|| instant(record.observed_time_unix_nano));
        let message = self.message();
        let words = enums::ERROR_CATEGORY.values;
        let category = of(&CATEGORIES).map(str::to_ascii_uppercase);
        let category = category.filter(|given| words.iter().any(|(word, _)| word == given));
        let context = self.context();
        let draft = Draft::new(Kind::ErrorLog, at.unwrap_or(now), Provenance::Real)
            .set(Column::Category, category.as_deref().unwrap_or("SYSTEM"))
            .set(Column::Severity, self.severity)
            .set(Column::ErrorMessage, message.as_str())
            .set(Column::ErrorCode, of(&CODES))
            .set(Column::StackTrace, of(&[STACK]))
            .set(Column::DeviceKey, self.device)
            .set(Column::UserId, of(&USERS))
            .set(Column::Endpoint, of(&[ROUTE]))
            .set(Column::Context, context.clone());
        // without a time the next one that is alike would be taken for this one
        let Some(at) = at else {
            return draft.finish();
        };
        let said = (at.0, self.severity, self.device, &message, context);
        let said = Json::from(vec![
            said.0.into(),
            said.1.into(),
            said.2.into(),
            said.3.as_str().into(),
            said.4.unwrap_or_default(),
        ]);
        let content = Uuid::new_v5(&RECORDS, said.to_string().as_bytes());
        let ordinal = alike.entry(content).or_insert(0);
        *ordinal += 1;
        let id = Uuid::new_v5(&content, &ordinal.to_be_bytes());
        draft.event_id(id).finish()
    }

    /// What is said: the body, or what is thrown.
    fn message(&self) -> String {
        let body = self
            .record
            .body
            .as_ref()
            .filter(|body| body.value.is_some());
        let thrown = text(&self.record.attributes, MESSAGE);
        match body.and_then(|body| body.value.as_ref().zip(Some(body))) {
            Some((Value::StringValue(said), _)) if !said.is_empty() => said.clone(),
            Some((Value::StringValue(_), _)) | None => thrown.unwrap_or_default().to_owned(),
            Some((_, body)) => json(body).to_string(),
        }
    }

    /// What else is told of it, as far as that is not too much.
    fn context(&self) -> Option<Json> {
        let record = self.record;
        let mut attributes = object(&record.attributes);
        attributes.retain(|key, _| !KEPT.contains(&key.as_str()));
        let mut context = Map::new();
        let mut add = |name: &str, value: Json, is_there: bool| {
            if is_there {
                context.insert(name.to_owned(), value);
            }
        };
        let (trace, span) = (hex(&record.trace_id), hex(&record.span_id));
        add("traceId", trace.into(), !record.trace_id.is_empty());
        add("spanId", span.into(), !record.span_id.is_empty());
        let event = record.event_name.as_str();
        add("eventName", event.into(), !event.is_empty());
        add(
            "resource",
            object(self.resource).into(),
            !self.resource.is_empty(),
        );
        let is_there = !attributes.is_empty();
        add("attributes", attributes.into(), is_there);
        for large in ["attributes", "resource"] {
            if Json::Object(context.clone()).to_string().len() <= CONTEXT_BYTES_MAX {
                break;
            }
            context.remove(large);
        }
        (!context.is_empty()).then_some(Json::Object(context))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = |byte: u8| {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        [digit(byte >> 4), digit(byte & 0xf)]
    };
    bytes.iter().flat_map(|byte| digits(*byte)).collect()
}
