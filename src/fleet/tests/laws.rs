//! What holds for every fleet at any time: order, repeatability, slices, states, kinds.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::fleet::DEVICES_MAX;

#[test]
fn the_same_seed_gives_the_same_events() {
    assert_eq!(days(slow(5), MONDAY, 1), days(slow(5), MONDAY, 1));
}

#[test]
fn another_seed_gives_other_events() {
    assert_ne!(days(slow(5), MONDAY, 1), days(slow(6), MONDAY, 1));
}

#[test]
fn slices_together_equal_one_advance() {
    let start = instant(MONDAY);
    let mut fleet = Fleet::new(slow(7), start);
    let mut sliced = Vec::new();
    let mut at = start;
    while at < start + TimeDelta::hours(24) {
        at = (at + TimeDelta::milliseconds(433_777)).min(start + TimeDelta::hours(24));
        sliced.extend(fleet.advance(at));
    }
    assert_eq!(sliced, days(slow(7), MONDAY, 1));
}

#[test]
fn events_come_in_order_of_time_within_their_slice() {
    let mut last = instant(MONDAY);
    let mut fleet = Fleet::new(slow(2), last);
    for _ in 0..200 {
        let until = last + minutes(13);
        assert!(fleet.next_at() > last);
        let events = fleet.advance(until);
        let times: Vec<_> = events
            .iter()
            .map(|event| occurred_at(parts(event).1))
            .collect();
        assert!(times.is_sorted());
        assert!(times.iter().all(|at| *at > last && *at <= until));
        last = until;
    }
}

#[test]
fn an_instant_reached_before_gives_no_events() {
    let start = instant(MONDAY);
    let mut fleet = Fleet::new(FleetOptions::default(), start);
    assert!(!fleet.advance(start + minutes(5)).is_empty());
    assert!(fleet.advance(start + minutes(3)).is_empty());
    assert!(fleet.advance(start + minutes(5)).is_empty());
}

#[test]
fn all_eight_kinds_have_events_in_the_first_minute_at_any_hour() {
    let expected = BTreeSet::from([
        "apiRequest",
        "configurationChange",
        "deviceMetrics",
        "deviceRegistration",
        "deviceStateChange",
        "errorLog",
        "jobOutcome",
        "siteRegistration",
        "siteSchedule",
        "userActivity",
    ]);
    for seed in 0..24 {
        let start = instant(MONDAY) + TimeDelta::hours(i64::try_from(seed).unwrap());
        let options = FleetOptions {
            seed,
            ..FleetOptions::default()
        };
        let mut fleet = Fleet::new(options, start);
        let mut events = fleet.registrations();
        events.extend(fleet.advance(start + minutes(1)));
        let kinds: BTreeSet<&str> = events.iter().map(|event| parts(event).0).collect();
        assert_eq!(kinds, expected, "seed {seed}");
    }
}

#[test]
fn state_changes_change_the_state_and_chain() {
    let events = days(slow(3), MONDAY, 4);
    let mut states: BTreeMap<&str, &str> = BTreeMap::new();
    for change in of_kind(&events, "deviceStateChange") {
        let (before, now) = (text(change, "previousState"), text(change, "newState"));
        assert_ne!(before, now);
        let known = states.insert(text(change, "deviceId"), now);
        assert_eq!(before, known.unwrap_or("UNKNOWN"));
    }
    assert_eq!(states.len(), 12);
}

#[test]
fn an_offline_device_sends_no_metrics() {
    let mut offline = BTreeSet::new();
    let mut outages = 0;
    let options = FleetOptions {
        interval_seconds: 90,
        ..FleetOptions::default()
    };
    for event in &days(options, MONDAY, 2) {
        let (kind, body) = parts(event);
        if kind == "deviceStateChange" && text(body, "newState") == "OFFLINE" {
            outages += 1;
            offline.insert(text(body, "deviceId").to_owned());
        } else if kind == "deviceStateChange" {
            offline.remove(text(body, "deviceId"));
        } else if kind == "deviceMetrics" {
            assert!(!offline.contains(text(body, "deviceId")));
        }
    }
    assert!(outages > 3);
}

#[test]
fn keys_of_events_are_unique_and_all_events_are_simulated() {
    let start = instant(MONDAY);
    let mut fleet = Fleet::new(slow(1), start);
    let mut events = fleet.registrations();
    events.extend(fleet.advance(start + Days::new(2)));
    let mut keys = BTreeSet::new();
    for (kind, body) in events.iter().map(parts) {
        assert_eq!(text(body, "provenance"), "SIMULATED");
        let key = match kind {
            "deviceMetrics" => format!("{} {}", body["deviceId"], body["occurredAt"]),
            _ => text(body, "eventId").to_owned(),
        };
        assert!(keys.insert(key));
    }
}

#[test]
fn default_fleet_registers_three_sites_with_their_weeks_and_twelve_tills() {
    let fleet = Fleet::new(FleetOptions::default(), instant(MONDAY));
    let events = fleet.registrations();
    let count = |kind| of_kind(&events, kind).len();
    let counts = ["siteRegistration", "siteSchedule", "deviceRegistration"].map(count);
    // one site has filed hours for a date too
    assert_eq!(counts, [3, 3 * 7 + 1, 12]);
    let zones: BTreeSet<&str> = of_kind(&events, "siteRegistration")
        .into_iter()
        .map(|site| text(site, "timeZone"))
        .collect();
    assert_eq!(zones.len(), 3);
}

#[test]
fn ten_thousand_devices_all_report_in_the_first_minute() {
    let start = instant(MONDAY);
    let options = FleetOptions {
        sites: 200,
        devices_per_site: 50,
        ..FleetOptions::default()
    };
    let mut fleet = Fleet::new(options, start);
    let ids: BTreeSet<String> = fleet.device_ids().map(str::to_owned).collect();
    assert_eq!(ids.len(), DEVICES_MAX);
    let events = fleet.advance(start + minutes(1));
    let reporting = of_kind(&events, "deviceMetrics").into_iter();
    let reporting: BTreeSet<String> = reporting
        .map(|metrics| text(metrics, "deviceId").to_owned())
        .collect();
    assert_eq!(reporting, ids);
}
