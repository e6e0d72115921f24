//! Silence: one timer for each device, and one alert for a site that is silent as a whole. Nothing is
//! scanned: a report moves one timer, and a look finds those that have run out.
//!
//! A device that runs out while nothing is heard of its site is held back for one of its intervals, in
//! which the others run out too if the whole site is silent: so that is one alert and not one for each
//! device. It does no I/O and reads no clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::fleet::{Fleet, Scope};
use super::renew::Watches;
use super::rule::{Gap, Rule};
pub(super) use super::silence::{Sign, Told};
use super::silence::{Silence, Site, Watched};
use super::verdict::{Begin, Cause, End, Verdict};
use crate::event::Instant;
use crate::timers::Timers;

/// A report this much older than when it was heard is history, not a sign of life.
pub(super) const LIVE_MS: i64 = 10 * 60 * 1_000;
/// How far back it is added up for how long a device was silent while its site was at work, at least.
const LOOKED_BACK_MS: i64 = 14 * 24 * 3_600 * 1_000;
/// The same in times that the device may be silent: a site is at work in a tenth of all time at least.
const LOOKED_BACK_LIMITS: i64 = 10;
/// A clock that goes back by more than this has been set.
pub(super) const CLOCK_SET_MS: i64 = 1_000;

/// The silence of devices by one rule.
#[derive(Debug)]
pub(super) struct Gaps {
    rule: Arc<Rule>,
    gap: Gap,
    scope: Scope,
    devices: HashMap<i64, Watched>,
    sites: HashMap<i64, Site>,
    due: Timers<i64>,
    clock_at: Instant,
}

impl Gaps {
    /// Nobody is watched yet.
    pub(super) fn new(rule: Arc<Rule>, gap: Gap, scope: Scope) -> Self {
        Self {
            rule,
            gap,
            scope,
            devices: HashMap::new(),
            sites: HashMap::new(),
            due: Timers::default(),
            clock_at: Instant::OLDEST,
        }
    }

    /// The rule.
    pub(super) fn rule_id(&self) -> &str {
        &self.rule.rule_id
    }

    /// Whether there may be an alert of a cause.
    pub(super) fn is_concerned_with(&self, cause: &Cause) -> bool {
        match cause {
            Cause::Device(key) => {
                let watched = self.devices.get(key);
                watched.is_some_and(|watched| watched.silence != Silence::Uncounted)
            }
            Cause::Site(key) => self.sites.get(key).is_some_and(|site| site.devices > 0),
            Cause::Job(_) | Cause::Fleet => false,
        }
    }

    /// Begins with a device that was heard of before. From the instant on from which signs are heard it is
    /// given one of its intervals at least to be heard of again, since before that nobody could hear it.
    pub(super) fn remember(&mut self, fleet: &Fleet, sign: Sign, told: Told, heard_from: Instant) {
        let Some(site) = self.site_of(fleet, sign.device) else {
            return;
        };
        let watched = Watched {
            site,
            reported_at: sign.reported_at,
            heard_at: sign.heard_at,
            interval_seconds: sign.interval_seconds,
            provenance: sign.provenance,
            silence: Silence::None,
        };
        let again_by = heard_from.plus_ms(2 * watched.held_ms());
        self.count(sign.device, watched);
        if !self.counts(fleet, sign.device) {
            self.uncount(sign.device);
            return;
        }
        let of_site = told.site.is_some_and(|since| sign.reported_at <= since);
        if told.device || of_site {
            self.due.clear(&sign.device);
            self.mark(
                sign.device,
                if of_site {
                    Silence::WithSite
                } else {
                    Silence::Told
                },
            );
        } else {
            let due = sign.heard_at.plus_ms(self.limit_ms(sign.device));
            self.due.set(sign.device, due.max(again_by));
        }
        if told.site.is_some()
            && let Some(site) = self.sites.get_mut(&site)
        {
            site.is_told = true;
        }
    }

    /// Takes a sign of life.
    pub(super) fn hear(&mut self, fleet: &Fleet, sign: Sign, verdicts: &mut Vec<Verdict>) {
        let key = sign.device;
        let Some(site) = self.site_of(fleet, key) else {
            return;
        };
        let before = self.devices.get(&key).cloned();
        if before.as_ref().is_some_and(|before| before.site != site) {
            self.forget(key, sign.heard_at, verdicts);
        }
        let known = self.devices.contains_key(&key);
        let mut watched = Watched {
            site,
            reported_at: sign.reported_at,
            heard_at: sign.heard_at,
            interval_seconds: sign.interval_seconds,
            provenance: sign.provenance,
            silence: Silence::None,
        };
        let since = before.as_ref().map_or(Instant::OLDEST, Watched::since);
        match before.filter(|before| known && before.silence != Silence::Uncounted) {
            Some(before) => {
                watched.reported_at = watched.reported_at.max(before.reported_at);
                watched.heard_at = watched.heard_at.max(before.heard_at);
                watched.silence = before.silence;
                self.devices.insert(key, watched);
            }
            None => self.count(key, watched),
        }
        if !self.counts(fleet, key) {
            self.uncount(key);
            return;
        }
        self.returned((key, since), sign, verdicts);
        let due = sign.heard_at.plus_ms(self.limit_ms(key));
        self.due.set(key, due);
    }

    /// A device was heard of: what was said of its silence, and of that of its site, is over.
    fn returned(&mut self, (key, since): (i64, Instant), sign: Sign, verdicts: &mut Vec<Verdict>) {
        let Some(watched) = self.devices.get(&key).cloned() else {
            return;
        };
        // what was measured before the silence is a sign of when it was heard
        let at = |since: Instant| {
            if sign.reported_at > since {
                sign.reported_at
            } else {
                watched.heard_at
            }
        };
        if watched.silence == Silence::Told {
            let at = at(since);
            verdicts.push(self.ends(Cause::Device(key), at, "it is heard of again"));
        }
        self.mark(key, Silence::None);
        let Some(site) = self.sites.get_mut(&watched.site) else {
            return;
        };
        let heard_before = site.heard_at;
        site.heard_at = heard_before.max(watched.heard_at);
        if !std::mem::take(&mut site.is_told) {
            return;
        }
        let at = at(heard_before);
        // the others have an interval to be heard of too
        let others: Vec<i64> = site.silent.iter().copied().collect();
        verdicts.push(self.ends(Cause::Site(watched.site), at, "it is heard of again"));
        for other in others {
            let held_ms = self.devices.get(&other).map_or(0, Watched::held_ms);
            let by = watched.heard_at.plus_ms(held_ms);
            self.mark(other, Silence::Held(by));
            self.due.set(other, by);
        }
    }

    /// A device is registered otherwise, or in another state: whether its silence counts may have changed.
    pub(super) fn changed(
        &mut self,
        fleet: &Fleet,
        (key, now): (i64, Instant),
        verdicts: &mut Vec<Verdict>,
    ) {
        let Some(watched) = self.devices.get(&key).cloned() else {
            return;
        };
        let counts = self.counts(fleet, key);
        let is_elsewhere = self.site_of(fleet, key) != Some(watched.site);
        if counts && is_elsewhere {
            self.forget(key, now, verdicts);
            if let Some(site) = self.site_of(fleet, key) {
                let watched = Watched {
                    site,
                    silence: Silence::None,
                    ..watched
                };
                self.again(key, &watched, now);
            }
        } else if !counts {
            self.forget(key, now, verdicts);
            let watched = Watched {
                silence: Silence::Uncounted,
                ..watched
            };
            self.devices.insert(key, watched);
        } else if watched.silence == Silence::Uncounted {
            self.again(key, &watched, now);
        }
    }

    /// The silence of a device counts from now on.
    fn again(&mut self, key: i64, watched: &Watched, now: Instant) {
        let watched = Watched {
            heard_at: now,
            silence: Silence::None,
            ..*watched
        };
        self.devices.remove(&key);
        self.count(key, watched);
        self.due.set(key, now.plus_ms(self.limit_ms(key)));
    }

    /// The hours of sites are other ones: what was put off until they are at work again is looked at anew.
    pub(super) fn rescheduled(&mut self, sites: &BTreeSet<i64>) {
        let at_sites = self.devices.iter().filter(|(_, watched)| {
            watched.silence == Silence::None && sites.contains(&watched.site)
        });
        let due = at_sites.map(|(key, watched)| (*key, watched.heard_at));
        for (key, heard_at) in due.collect::<Vec<_>>() {
            self.due.set(key, heard_at.plus_ms(self.limit_ms(key)));
        }
    }

    /// Finds whose time has run out.
    pub(super) fn look(&mut self, fleet: &Fleet, now: Instant, verdicts: &mut Vec<Verdict>) {
        self.follow_clock(now);
        let mut silent = Vec::new();
        for (due_at, key) in self.due.due(now) {
            let Some(watched) = self.devices.get(&key) else {
                self.due.clear(&key);
                continue;
            };
            if let Some(later) = self.put_off(fleet, key, now) {
                self.due.set(key, later);
                continue;
            }
            if watched.silence == Silence::None {
                self.mark(key, Silence::Held(due_at));
            }
            silent.push(key);
        }
        for key in silent {
            self.judge(key, now, verdicts);
        }
    }

    /// When the time of a device has run out, if not now: it runs only while its site is at work.
    fn put_off(&self, fleet: &Fleet, key: i64, now: Instant) -> Option<Instant> {
        let watched = self.devices.get(&key)?;
        if self.gap.always || watched.silence != Silence::None {
            return None;
        }
        let limit_ms = self.limit_ms(key);
        // what was much longer ago than its whole time says nothing more
        let looked_back_ms = limit_ms.saturating_mul(LOOKED_BACK_LIMITS);
        let looked_back_ms = looked_back_ms.max(LOOKED_BACK_MS);
        let since = watched.heard_at.max(now.plus_ms(-looked_back_ms));
        let due = fleet.at_work_for(watched.site, since, limit_ms);
        (due > now).then_some(due)
    }

    /// Says that a device is silent, or all of its site, unless it is held back.
    fn judge(&mut self, key: i64, now: Instant, verdicts: &mut Vec<Verdict>) {
        let Some(watched) = self.devices.get(&key).cloned() else {
            return;
        };
        let Silence::Held(since) = watched.silence else {
            return;
        };
        if self.tell_of_site(watched.site, now, verdicts) {
            return;
        }
        let site_heard_at = self
            .sites
            .get(&watched.site)
            .map_or(now, |site| site.heard_at);
        let alone = self
            .sites
            .get(&watched.site)
            .is_none_or(|site| site.devices < 2);
        let is_quiet = site_heard_at.plus_ms(watched.held_ms() * 3 / 2) < now;
        let by = since.plus_ms(watched.held_ms());
        if is_quiet && !alone && now < by {
            self.due.set(key, by);
            return;
        }
        self.due.clear(&key);
        self.mark(key, Silence::Told);
        let silent_for = (since.0 - watched.heard_at.0) / 1_000_000;
        let reason = format!("nothing was heard of it for {silent_for} s");
        verdicts.push(self.begins(Cause::Device(key), &watched, (since, reason)));
    }

    /// Says that a site is silent as a whole if it is: then nothing is said of its devices.
    fn tell_of_site(&mut self, key: i64, now: Instant, verdicts: &mut Vec<Verdict>) -> bool {
        let Some(site) = self.sites.get_mut(&key) else {
            return false;
        };
        if !site.is_silent() || !self.scope.has_site(key) {
            return false;
        }
        let was_told = std::mem::replace(&mut site.is_told, true);
        let silent: Vec<i64> = site.silent.iter().copied().collect();
        let of = |key: &i64| self.devices.get(key).cloned();
        let devices: Vec<(i64, Watched)> =
            silent.iter().filter_map(|k| Some((*k, of(k)?))).collect();
        let last = devices.iter().map(|(_, watched)| watched);
        let Some(last) = last.max_by_key(|watched| watched.reported_at).cloned() else {
            return false;
        };
        let mut since = Instant::OLDEST;
        for (device, watched) in &devices {
            if let Silence::Held(held) = watched.silence {
                since = since.max(held);
            }
            if watched.silence == Silence::Told {
                let reason = "all of its site is silent";
                verdicts.push(self.ends(Cause::Device(*device), now, reason));
            }
            self.mark(*device, Silence::WithSite);
            self.due.clear(device);
        }
        if !was_told {
            let count = devices.len();
            let reason = format!("nothing is heard of any of its {count} devices");
            let at = if since == Instant::OLDEST { now } else { since };
            verdicts.push(self.begins(Cause::Site(key), &last, (at.min(now), reason)));
        }
        true
    }

    fn begins(&self, cause: Cause, of: &Watched, (at, reason): (Instant, String)) -> Verdict {
        Verdict::Begins(Begin {
            rule: Arc::clone(&self.rule),
            cause,
            since: of.since(),
            at: at.max(of.since()),
            measured: None,
            reason,
            provenance: of.provenance,
            site: None,
        })
    }

    fn ends(&self, cause: Cause, at: Instant, reason: &str) -> Verdict {
        Verdict::Ends(End {
            rule_id: self.rule.rule_id.clone(),
            cause,
            at,
            reason: reason.to_owned(),
        })
    }

    /// The site of a device that the rule is for.
    fn site_of(&self, fleet: &Fleet, key: i64) -> Option<i64> {
        let site = fleet.devices.get(&key)?.site;
        self.scope.has(key, site).then_some(site)
    }

    /// Whether the silence of a device counts.
    fn counts(&self, fleet: &Fleet, key: i64) -> bool {
        let device = fleet.devices.get(&key);
        device.is_some_and(|device| {
            device.is_active && (self.gap.always || !device.is_in_maintenance())
        })
    }

    fn limit_ms(&self, key: i64) -> i64 {
        let interval = self.devices.get(&key).and_then(|w| w.interval_seconds);
        self.gap.limit_ms(interval)
    }

    /// Takes a device among those of its site that count.
    fn count(&mut self, key: i64, watched: Watched) {
        let site = self.sites.entry(watched.site).or_default();
        site.devices += 1;
        site.heard_at = site.heard_at.max(watched.heard_at);
        self.devices.insert(key, watched);
    }

    /// Takes a device out of those that count, and keeps what is known of it.
    fn uncount(&mut self, key: i64) {
        let Some(watched) = self.devices.get_mut(&key) else {
            return;
        };
        let was = std::mem::replace(&mut watched.silence, Silence::Uncounted);
        self.due.clear(&key);
        if was != Silence::Uncounted
            && let Some(site) = self.sites.get_mut(&watched.site)
        {
            site.devices = site.devices.saturating_sub(1);
            site.silent.remove(&key);
        }
    }

    /// A device is not watched any more where it was: what was said of it is over.
    fn forget(&mut self, key: i64, now: Instant, verdicts: &mut Vec<Verdict>) {
        let Some(watched) = self.devices.get(&key).cloned() else {
            return;
        };
        self.uncount(key);
        self.devices.remove(&key);
        if watched.silence == Silence::Told {
            let reason = "it is out of use, in maintenance or elsewhere";
            verdicts.push(self.ends(Cause::Device(key), now, reason));
        }
        let Some(site) = self.sites.get_mut(&watched.site) else {
            return;
        };
        if site.devices == 0 && std::mem::take(&mut site.is_told) {
            let reason = "none of its devices is in use";
            verdicts.push(self.ends(Cause::Site(watched.site), now, reason));
        } else if site.devices > 0 {
            self.tell_of_site(watched.site, now, verdicts);
        }
    }

    fn mark(&mut self, key: i64, silence: Silence) {
        let Some(watched) = self.devices.get_mut(&key) else {
            return;
        };
        watched.silence = silence;
        if let Some(site) = self.sites.get_mut(&watched.site) {
            if silence == Silence::None {
                site.silent.remove(&key);
            } else {
                site.silent.insert(key);
            }
        }
    }

    /// When the clock is set back, the timers go with it: else they were due when it comes to where it was.
    fn follow_clock(&mut self, now: Instant) {
        let set_back = now < self.clock_at.plus_ms(-CLOCK_SET_MS);
        let back = self.clock_at.0.saturating_sub(now.0);
        self.clock_at = now;
        if !set_back {
            return;
        }
        self.due.set_back(back);
        for watched in self.devices.values_mut() {
            watched.heard_at = watched.heard_at.min(now);
        }
        for site in self.sites.values_mut() {
            site.heard_at = site.heard_at.min(now);
        }
    }
}

impl Watches for Gaps {
    fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn go_on(&mut self, rule: Arc<Rule>) {
        self.rule = rule;
    }
}

#[cfg(test)]
#[path = "gaps_tests.rs"]
mod tests;
