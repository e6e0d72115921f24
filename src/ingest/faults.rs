//! Records the faults of this server's own parts as events of kind `errorLog`.
//!
//! A fault is held until it is recorded, also when it is that nothing can be recorded. That this
//! fails is told like any failed append, adds to what is held already, and so goes round in no
//! circle.

use std::time::Duration;

use entity::error_logs::Column;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Ingest, Patience};
use crate::event::{Cell, NewEvent, Provenance, own_id};
use crate::kinds::{Draft, Kind, Refusal};
use crate::store::{AppendError, Fault};

/// How often it looks for faults.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it waits at most after an attempt that failed; it waits twice as long each time. Where
/// nobody else records anything, this attempt is what finds out that appends succeed again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Records faults until it is told to stop, and once more then.
pub async fn record_faults(ingest: Ingest, stop: CancellationToken) {
    let mut wait = LOOK_EVERY;
    loop {
        let waited = stop.run_until_cancelled(sleep(wait)).await;
        wait = match record(&ingest).await {
            Ok(()) => LOOK_EVERY,
            Err(_) => RETRY_AFTER_MAX.min(wait * 2),
        };
        if waited.is_none() {
            break;
        }
    }
}

async fn record(ingest: &Ingest) -> Result<(), AppendError> {
    let now = ingest.clock().now();
    let faults = ingest.store().faults();
    for fault in faults.due(now) {
        match event(&fault) {
            Ok(event) => {
                let given = vec![(Some(Kind::ErrorLog), Ok(event))];
                ingest.record(given, None, Patience::Unlimited).await?;
            }
            Err(refusal) => tracing::error!(refusal.message, "a fault of our own was refused"),
        }
        faults.recorded(&fault, now);
    }
    Ok(())
}

/// Namespace of the ids of these events.
const FAULTS: Uuid = Uuid::from_u128(0x35c0_8a1d_6e52_4c0b_9f27_d1b0_4a96_e3c8);

fn event(fault: &Fault) -> Result<NewEvent, Refusal> {
    let id = format!("{}/{}/{}", fault.source, fault.last_at.0, fault.times);
    let context = json!({
        "source": "server",
        "times": fault.times,
        "firstAt": fault.first_at.to_string(),
        "lastAt": fault.last_at.to_string(),
    });
    let message = format!("{}: {}", fault.source, fault.message);
    Draft::new(Kind::ErrorLog, fault.last_at, Provenance::Real)
        .event_id(own_id(&FAULTS, id.as_bytes()))
        .set(Column::Category, "SYSTEM")
        .set(Column::Severity, "ERROR")
        .set(Column::ErrorCode, "INTERNAL")
        .set(Column::ErrorMessage, message.as_str())
        .set(Column::Context, Cell::from(context))
        .finish()
}
