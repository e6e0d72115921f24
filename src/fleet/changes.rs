//! How the configuration of a fleet changes: by the manager of a site, by a policy, or because a
//! recommendation was followed.

use chrono::{DateTime, Utc};
use rand::RngExt;
use serde_json::{Value, json};

use super::device::Device;
use super::random::{Rng, event_id, pick, seconds_between};
use super::settings::{PARAMETERS, Parameter, Scope};
use super::site::Site;
use super::wire::event;

/// Seconds between two looks at whether something should be changed, at least and at most.
const LOOK_SECONDS: (u32, u32) = (3 * 3_600, 9 * 3_600);

/// When the first change is made; the first site makes one soon.
pub(super) fn first(start: DateTime<Utc>, index: usize, site: &mut Site) -> DateTime<Utc> {
    let (least, most) = match index {
        0 => (10, 50),
        _ => LOOK_SECONDS,
    };
    start + seconds_between(&mut site.rng, least, most)
}

/// Changes one parameter; returns when to change the next.
pub(super) fn change(
    at: DateTime<Utc>,
    site: &mut Site,
    devices: &mut [Device],
    out: &mut Vec<Value>,
) -> DateTime<Utc> {
    let [otherwise, ..] = &PARAMETERS;
    let parameter = pick(&mut site.rng, &PARAMETERS, otherwise);
    let index = site.rng.random_range(0..devices.len().max(1));
    let (entity_id, before, now) = match (parameter.scope, devices.get_mut(index)) {
        (Scope::Device, Some(device)) => {
            let before = device.settings.get(parameter.name);
            let now = another(parameter, &before, &mut site.rng);
            device.set(parameter.name, now.clone());
            (device.id.clone(), before, now)
        }
        (scope, _) => {
            let before = site.settings.get(parameter.name);
            let now = another(parameter, &before, &mut site.rng);
            site.settings.set(parameter.name, now.clone());
            let id = if scope == Scope::System {
                "system"
            } else {
                site.id.as_str()
            };
            (id.to_owned(), before, now)
        }
    };
    let open = site.day(at).is_open(at);
    let (by, change_type, reason) = occasion(open, site);
    let body = json!({
        "entityType": parameter.scope.word(),
        "entityId": entity_id,
        "parameterName": parameter.name,
        "oldValue": before,
        "newValue": now,
        "changedBy": by,
        "reason": reason,
        "changeType": change_type,
    });
    let id = event_id(&mut site.rng, at);
    out.push(event("configurationChange", at, Some(id), body));
    let (least, most) = LOOK_SECONDS;
    at + seconds_between(&mut site.rng, least, most)
}

/// A value that a parameter can take, other than the one it has.
fn another(parameter: &Parameter, before: &Value, rng: &mut Rng) -> Value {
    let choices = parameter.choices.iter().map(|setting| setting.json());
    let others: Vec<Value> = choices.filter(|value| value != before).collect();
    pick(rng, &others, before).clone()
}

/// Who changes something, how it came about, and why.
type Occasion = (String, &'static str, &'static str);

/// While a shop is open its manager changes most things; a closed one leaves it to policies.
fn occasion(open: bool, site: &mut Site) -> Occasion {
    let manager = format!("manager-{}", site.id);
    match site.rng.random_range(0..10) {
        0..6 if open => (manager, "MANUAL", "Asked for by the shop"),
        6..8 if open => (
            manager,
            "RECOMMENDED",
            "Recommendation of the fleet console",
        ),
        _ => (
            "policy-engine".to_owned(),
            "AUTOMATED",
            "Policy for shops of this size",
        ),
    }
}
