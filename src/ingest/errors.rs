//! Failures inside this server, as events of kind `errorLog`.

use entity::error_logs::Column;
use serde_json::json;
use uuid::Uuid;

use super::Background;
use crate::event::{Cell, Instant, Provenance};
use crate::kinds::{Draft, Kind};

/// Records a failure inside this server. The incident id is what the caller was told; the cause is
/// shown to operators only.
pub fn internal_error(
    background: &Background,
    at: Instant,
    incident: Uuid,
    what: (&'static str, &str),
    endpoint: Option<&str>,
) {
    let (category, message) = what;
    let drafted = Draft::new(Kind::ErrorLog, at, Provenance::Real)
        .event_id(incident)
        .set(Column::Category, category)
        .set(Column::Severity, "ERROR")
        .set(Column::ErrorCode, "INTERNAL")
        .set(Column::ErrorMessage, message)
        .set(Column::Endpoint, endpoint)
        .set(
            Column::Context,
            Cell::from(json!({ "incident": incident, "source": "server" })),
        )
        .finish();
    match drafted {
        Ok(event) => background.offer(event),
        Err(refusal) => tracing::error!(refusal.message, "an error of our own was refused"),
    }
}
