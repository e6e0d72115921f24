//! Tests of the silence of devices: one alert for each cause, and what holds it back.

use super::*;
use crate::alerts::fleet::Device;
use crate::event::{Position, Provenance};

const SECOND_MS: i64 = 1_000;

fn at(seconds: i64) -> Instant {
    Instant(1_800_000_000_000_000).plus_ms(seconds * SECOND_MS)
}

/// Devices by key, each with its site.
fn fleet(devices: &[(i64, i64)]) -> Fleet {
    let device = |(key, site): &(i64, i64)| {
        let device = Device {
            site: *site,
            is_active: true,
            registered: (Instant::OLDEST, Position::START),
            state: None,
            state_at: (Instant::OLDEST, Position::START),
            provenance: Provenance::Real,
            interval_seconds: None,
            sign: None,
        };
        (*key, device)
    };
    Fleet {
        devices: devices.iter().map(device).collect(),
        ..Fleet::default()
    }
}

fn gaps() -> Gaps {
    let [rule, _] = Rule::defaults();
    Gaps::new(Arc::new(rule), Gap::default(), Scope::All)
}

fn sign(device: i64, seconds: i64) -> Sign {
    Sign {
        device,
        reported_at: at(seconds),
        heard_at: at(seconds),
        interval_seconds: Some(30),
        provenance: Provenance::Real,
    }
}

/// What follows, as `+` or `-`, a cause, and when.
fn told(verdicts: &mut Vec<Verdict>) -> Vec<String> {
    let tell = |verdict| match verdict {
        Verdict::Begins(begin) => {
            let (since, at) = (begin.since.0 - at(0).0, begin.at.0 - at(0).0);
            format!(
                "+{:?} {}..{}",
                begin.cause,
                since / 1_000_000,
                at / 1_000_000
            )
        }
        Verdict::Ends(end) => format!("-{:?} {}", end.cause, (end.at.0 - at(0).0) / 1_000_000),
    };
    std::mem::take(verdicts).into_iter().map(tell).collect()
}

/// Looks every second up to an instant, while devices report every 30 s.
fn run(gaps: &mut Gaps, fleet: &Fleet, (from, to): (i64, i64), alive: &[i64]) -> Vec<String> {
    let mut verdicts = Vec::new();
    for second in from..to {
        for device in alive.iter().filter(|device| second % 30 == **device) {
            gaps.hear(fleet, sign(*device, second), &mut verdicts);
        }
        gaps.look(fleet, at(second), &mut verdicts);
    }
    told(&mut verdicts)
}

#[test]
fn a_device_that_falls_silent_beside_others_is_told_when_its_time_is_over_and_its_return_too() {
    let fleet = fleet(&[(1, 10), (2, 10)]);
    let mut gaps = gaps();
    assert_eq!(run(&mut gaps, &fleet, (0, 60), &[1, 2]), [""; 0]);
    let told = run(&mut gaps, &fleet, (60, 900), &[2]);
    assert_eq!(told, ["+Device(1) 31..331"]);
    let told = run(&mut gaps, &fleet, (900, 1_000), &[1, 2]);
    assert_eq!(told, ["-Device(1) 901"]);
}

#[test]
fn a_site_that_is_silent_is_told_once_and_not_for_each_of_its_devices() {
    let fleet = fleet(&[(1, 10), (2, 10), (3, 10), (4, 20)]);
    let mut gaps = gaps();
    run(&mut gaps, &fleet, (0, 60), &[1, 2, 3, 4]);
    let told = run(&mut gaps, &fleet, (60, 900), &[4]);
    assert_eq!(told, ["+Site(10) 33..333"]);
    // one returns: the site is not silent, and the others are told by themselves
    let told = run(&mut gaps, &fleet, (900, 1_000), &[1, 4]);
    assert_eq!(
        told,
        ["-Site(10) 901", "+Device(2) 32..931", "+Device(3) 33..931"]
    );
    let told = run(&mut gaps, &fleet, (1_000, 1_100), &[1, 2, 3, 4]);
    assert_eq!(told, ["-Device(2) 1022", "-Device(3) 1023"]);
}

#[test]
fn a_site_that_loses_its_devices_one_after_the_other_has_one_alert_in_the_end() {
    let fleet = fleet(&[(1, 10), (2, 10)]);
    let mut gaps = gaps();
    run(&mut gaps, &fleet, (0, 60), &[1, 2]);
    run(&mut gaps, &fleet, (60, 600), &[2]);
    let told = run(&mut gaps, &fleet, (600, 1_200), &[]);
    assert_eq!(told, ["-Device(1) 872", "+Site(10) 572..872"]);
}

#[test]
fn silence_of_what_is_out_of_use_is_over_and_says_nothing_of_its_site() {
    let mut fleet = fleet(&[(1, 10), (2, 10), (3, 10)]);
    let mut gaps = gaps();
    run(&mut gaps, &fleet, (0, 60), &[1, 2, 3]);
    assert_eq!(
        run(&mut gaps, &fleet, (60, 600), &[2, 3]),
        ["+Device(1) 31..331"]
    );
    fleet.devices.get_mut(&1).unwrap().is_active = false;
    let mut verdicts = Vec::new();
    gaps.changed(&fleet, (1, at(600)), &mut verdicts);
    assert_eq!(told(&mut verdicts), ["-Device(1) 600"]);
    assert_eq!(run(&mut gaps, &fleet, (600, 900), &[2, 3]), [""; 0]);
    // back in use it has its whole time
    fleet.devices.get_mut(&1).unwrap().is_active = true;
    gaps.changed(&fleet, (1, at(900)), &mut verdicts);
    assert_eq!(
        run(&mut gaps, &fleet, (900, 1_300), &[2, 3]),
        ["+Device(1) 31..1200"]
    );
}

#[test]
fn a_device_that_tells_what_was_before_its_silence_returns_when_that_is_heard() {
    let fleet = fleet(&[(1, 10), (2, 10)]);
    let mut gaps = gaps();
    run(&mut gaps, &fleet, (0, 60), &[1, 2]);
    run(&mut gaps, &fleet, (60, 600), &[2]);
    let late = Sign {
        heard_at: at(600),
        ..sign(1, 20)
    };
    let mut verdicts = Vec::new();
    gaps.hear(&fleet, late, &mut verdicts);
    assert_eq!(told(&mut verdicts), ["-Device(1) 600"]);
}

#[test]
fn a_restart_gives_devices_an_interval_or_two_and_forgets_no_alert() {
    let fleet = fleet(&[(1, 10), (2, 10), (3, 10)]);
    let mut gaps = gaps();
    let now = at(1_000);
    let told_of = |device| Told { device, site: None };
    gaps.remember(&fleet, sign(1, 31), told_of(true), now);
    gaps.remember(&fleet, sign(2, 62), told_of(false), now);
    gaps.remember(&fleet, sign(3, 993), told_of(false), now);
    let told = run(&mut gaps, &fleet, (1_000, 1_200), &[1, 3]);
    assert_eq!(told, ["-Device(1) 1021", "+Device(2) 62..1060"]);
}
