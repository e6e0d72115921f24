//! OTLP over HTTP (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP"): metrics become readings of devices, logs
//! become entries of the error log. What cannot be kept is told as a partial success; what cannot be read
//! or taken now has a status and a `google.rpc.Status`.
//!
//! Everything that comes is recorded so that a request which got no answer is simply sent again.

mod attributes;
mod measured;
mod readings;
mod records;
mod refused;
mod status;
mod table;
mod weight;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::super::Web;
use super::super::bodies::TakeError;
use super::super::sign_in;
use super::told::Told;
use super::unpacked::{ReadError, read_whole};
use crate::event::NewEvent;
use crate::graphql::{self, ErrorCode, guard};
use crate::identity::Caller;
use crate::store::{EVENTS_MAX, EntityType, Outcome};
use attributes::{named, of_resource};
use refused::Refused;
pub(in super::super) use status::layer;

/// Bytes at most of a request, once it is unpacked.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Messages at most of a request, or values of one in JSON.
const MESSAGES_MAX: usize = 200_000;
/// Bytes that a message takes in memory, about.
const MESSAGE_BYTES: usize = 160;

/// How a request is written, and with it its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Protobuf,
    Json,
}

impl Wire {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let ty = given.split(';').next().unwrap_or_default().trim();
        match ty.to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn answer(self, status: StatusCode, message: &impl Message, json: &Json) -> Response {
        let (ty, body) = match self {
            Self::Protobuf => ("application/x-protobuf", message.encode_to_vec()),
            Self::Json => ("application/json", json.to_string().into_bytes()),
        };
        let ty = [(header::CONTENT_TYPE, HeaderValue::from_static(ty))];
        (status, ty, body).into_response()
    }
}

/// Takes metrics.
pub(in super::super) async fn metrics(
    State(web): State<Web>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let taken: Result<Taken<ExportMetricsServiceRequest>, _> =
        taken(&web, (&parts, body), weight::of_metrics).await;
    let Taken {
        wire,
        caller,
        request,
        _room,
    } = match taken {
        Ok(taken) => taken,
        Err(response) => return *response,
    };
    let mut refused = Refused::default();
    let resources = request.resource_metrics.iter();
    let met = meet(&web, resources.map(|of| of.resource.as_ref())).await;
    if let Err(told) = met {
        return told.response();
    }
    let names = web.api.store().names();
    let readings = readings::of((names, &caller.reach), &request, &mut refused);
    let events = readings
        .into_iter()
        .map(|reading| (reading.event, reading.points));
    if let Err(told) = record(&web, &caller, events.collect(), &mut refused).await {
        return told.response();
    }
    let (count, message) = (refused.count, refused.message());
    let partial = (count > 0).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: count,
        error_message: message.clone(),
    });
    let told = partial_json(("rejectedDataPoints", count), &message);
    let answer = ExportMetricsServiceResponse {
        partial_success: partial,
    };
    wire.answer(StatusCode::OK, &answer, &told)
}

/// Takes logs.
pub(in super::super) async fn logs(
    State(web): State<Web>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let taken: Result<Taken<ExportLogsServiceRequest>, _> =
        taken(&web, (&parts, body), weight::of_logs).await;
    let Taken {
        wire,
        caller,
        request,
        _room,
    } = match taken {
        Ok(taken) => taken,
        Err(response) => return *response,
    };
    let mut refused = Refused::default();
    let resources = request.resource_logs.iter();
    let met = meet(&web, resources.map(|of| of.resource.as_ref())).await;
    if let Err(told) = met {
        return told.response();
    }
    let names = web.api.store().names();
    let now = web.api.ingest.clock().now();
    let events = records::of((names, &caller.reach), &request, (now, &mut refused));
    let events = events.into_iter().map(|event| (event, 1)).collect();
    if let Err(told) = record(&web, &caller, events, &mut refused).await {
        return told.response();
    }
    let (count, message) = (refused.count, refused.message());
    let partial = (count > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: count,
        error_message: message.clone(),
    });
    let told = partial_json(("rejectedLogRecords", count), &message);
    let answer = ExportLogsServiceResponse {
        partial_success: partial,
    };
    wire.answer(StatusCode::OK, &answer, &told)
}

/// A whole number of 64 bits is a text in JSON of protobuf.
fn partial_json((name, count): (&str, i64), message: &str) -> Json {
    if count == 0 {
        return json!({});
    }
    json!({ "partialSuccess": { name: count.to_string(), "errorMessage": message } })
}

/// A request that was read.
struct Taken<T> {
    wire: Wire,
    caller: Caller,
    request: T,
    _room: OwnedSemaphorePermit,
}

/// Reads a request, when it is known who sends it.
async fn taken<T: Message + Default + DeserializeOwned>(
    web: &Web,
    (parts, body): (&Parts, Body),
    messages: fn(&[u8]) -> Option<usize>,
) -> Result<Taken<T>, Box<Response>> {
    let caller = sign_in::asker(web, &parts.extensions)?;
    let refused = |status, code, message: &str| Told::new(status, code, message).response();
    let wire = Wire::of(&parts.headers).ok_or_else(|| {
        let message = "send application/x-protobuf or application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        refused(status, ErrorCode::BadRequest, message)
    })?;
    let (bytes, mut room) = match read_whole(web, &parts.headers, (body, BYTES_MAX)).await {
        Ok(read) => read,
        Err(error) => return Err(Box::new(Told::unread(&error).response())),
    };
    let malformed = |why: &str| {
        let message = format!("the request is none of OTLP: {why}");
        refused(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, &message)
    };
    let values = match wire {
        Wire::Protobuf => messages(&bytes).ok_or_else(|| malformed("it breaks off"))?,
        Wire::Json => guard::json_values(&bytes),
    };
    if values > MESSAGES_MAX {
        let message =
            format!("the request has more than {MESSAGES_MAX} points, attributes and values");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Box::new(refused(
            status,
            ErrorCode::LimitExceeded,
            &message,
        )));
    }
    let Some(more) = web.bodies.reserve(values * MESSAGE_BYTES) else {
        let full = ReadError::Take(TakeError::Full);
        return Err(Box::new(Told::unread(&full).response()));
    };
    room.merge(more);
    let request = match wire {
        Wire::Protobuf => T::decode(bytes.as_slice()).map_err(|e| malformed(&e.to_string()))?,
        Wire::Json => serde_json::from_slice(&bytes).map_err(|e| malformed(&e.to_string()))?,
    };
    Ok(Taken {
        wire,
        caller,
        request,
        _room: room,
    })
}

/// Meets the devices that resources name: another node may have registered them just now.
async fn meet<'a>(
    web: &Web,
    resources: impl Iterator<Item = Option<&'a Resource>>,
) -> Result<(), Told> {
    let resources = resources.map(of_resource);
    let ids: HashSet<&str> = resources.flat_map(|of| named(&[], of)).collect();
    let names = ids
        .into_iter()
        .map(|id| (EntityType::Device, Arc::from(id)));
    let met = web.api.store().meet(names.collect::<Vec<_>>()).await;
    met.map_err(|error| {
        let failed = crate::identity::RecordError::Read(error);
        Told::of(&graphql::of_unrecorded(&web.api, &failed))
    })
}

/// Records events, each of which stands for so many points, and counts those that were refused. If a part of
/// them is not taken, the whole request is to be sent again: what was taken is known then.
async fn record(
    web: &Web,
    caller: &Caller,
    events: Vec<(NewEvent, i64)>,
    refused: &mut Refused,
) -> Result<(), Told> {
    let mut events = events.into_iter();
    loop {
        let (batch, points): (Vec<NewEvent>, Vec<i64>) = events.by_ref().take(EVENTS_MAX).unzip();
        if batch.is_empty() {
            return Ok(());
        }
        let devices: Vec<Option<Arc<str>>> = batch.iter().map(device_of).collect();
        let given = batch
            .into_iter()
            .map(|event| (Some(event.fact.kind), Ok(event)));
        let allowance = web.api.store().allowance();
        let recorder = web.api.recorder(caller);
        let recorded = recorder.record(given.collect(), None, &allowance);
        let recorded = timeout(web.request_within, recorded).await;
        let recorded = recorded.map_err(|_| Told::late(web.request_within))?;
        let recorded =
            recorded.map_err(|failed| Told::of(&graphql::of_unrecorded(&web.api, &failed)))?;
        let points = points.into_iter().zip(devices);
        for (outcome, (points, device)) in recorded.outcomes.iter().zip(points) {
            if let Some(message) = outcome.message() {
                let what = match outcome {
                    Outcome::Conflict(_) => "is in conflict:",
                    Outcome::Recorded(_) | Outcome::Duplicate(_) | Outcome::Rejected(_) => {
                        "is refused:"
                    }
                };
                let device = device.as_deref().unwrap_or("a record");
                refused.add(device, &format!("{what} {message}"), points);
            }
        }
    }
}

/// The device that an event is of.
fn device_of(event: &NewEvent) -> Option<Arc<str>> {
    let index = event.fact.spec().device_index()?;
    event.fact.cells.get(index)?.text().map(Arc::from)
}
