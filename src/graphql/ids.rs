//! Global ids, for `node`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::event::{Event, Instant, Position};
use crate::kinds::Kind;
use crate::store::Place;

/// What a global id names.
#[derive(Debug, PartialEq)]
pub(super) enum Named {
    /// An event.
    Event(Kind, Place),
    /// A site, by the id of its operator.
    Site(String),
    /// A device, by the id of its operator.
    Device(String),
    /// A job.
    Job(String),
}

/// The id of an event.
pub(super) fn of_event(event: &Event) -> String {
    let at = event.fact.occurred_at.0;
    encode(&format!(
        "{}:{}:{at}",
        event.fact.kind.code(),
        event.position
    ))
}

/// The id of a site.
pub(super) fn of_site(id: &str) -> String {
    encode(&format!("site:{id}"))
}

/// The id of a device.
pub(super) fn of_device(id: &str) -> String {
    encode(&format!("device:{id}"))
}

/// The id of a job.
pub(super) fn of_job(id: &str) -> String {
    encode(&format!("job:{id}"))
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// Reads a global id; `None` when it is none.
pub(super) fn read(id: &str) -> Option<Named> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
    let (head, rest) = text.split_once(':')?;
    match head {
        "site" => Some(Named::Site(rest.to_owned())),
        "device" => Some(Named::Device(rest.to_owned())),
        "job" => Some(Named::Job(rest.to_owned())),
        code => {
            let (position, at) = rest.split_once(':')?;
            let place = Place {
                position: Position(position.parse().ok()?),
                occurred_at: Instant(at.parse().ok()?),
            };
            Some(Named::Event(Kind::of_code(code.parse().ok()?)?, place))
        }
    }
}
