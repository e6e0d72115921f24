//! The state of a till as the health check sees it, and what it writes when the state changes.

use rand::RngExt;
use serde_json::{Value, json};

use super::random::{Rng, tenths};

/// State of a till.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unknown,
    Online,
    Error,
    Offline,
}

/// How long the health check waits for an answer, in milliseconds.
const TIMEOUT_MS: f64 = 5_000.0;

impl State {
    /// The word of the wire.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Online => "ONLINE",
            Self::Error => "ERROR",
            Self::Offline => "OFFLINE",
        }
    }

    fn health(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Online => "HEALTHY",
            Self::Error => "UNHEALTHY",
            Self::Offline => "UNREACHABLE",
        }
    }

    fn response_time_ms(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Online => tenths(rng.random_range(30.0..160.0)),
            Self::Error => tenths(rng.random_range(120.0..900.0)),
            Self::Unknown | Self::Offline => TIMEOUT_MS,
        }
    }
}

/// The body of a change of state; `None` when nothing changes.
pub(super) fn change(
    device_id: &str,
    (before, now): (State, State),
    reason: &str,
    rng: &mut Rng,
) -> Option<Value> {
    if before == now {
        return None;
    }
    Some(json!({
        "deviceId": device_id,
        "previousState": before.word(),
        "newState": now.word(),
        "changedBy": "health-check",
        "reason": reason,
        "responseTimeMs": now.response_time_ms(rng),
        "healthStatus": now.health(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::random::stream;

    #[test]
    fn the_same_state_again_is_no_change() {
        let mut rng = stream(&[1]);
        let states = (State::Online, State::Online);
        assert!(change("pos-01-01", states, "again", &mut rng).is_none());
    }
}
