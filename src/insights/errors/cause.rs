//! Which changed setting may have brought an error: changes on the device or at its site within a day before the error
//! was first seen there, against how often that would be by chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::Instant;
use crate::insights::input::{DAY, SECOND};
use crate::insights::number::float;

use crate::insights::errors::fingerprint::hash;
use crate::insights::errors::group::Group;
use crate::insights::errors::trend::{self, Ratio};

/// How long before an error a change may have brought it.
pub const WINDOW: i64 = DAY;
/// The level of the interval that must lie above 1, shared between the settings looked at.
const LEVEL: f64 = 0.95;
/// Changes that are remembered, the latest.
const CHANGES_MAX: usize = 1_024;
/// Settings whose changes are counted.
const PARAMETERS_MAX: usize = 256;
/// Settings that are told per device.
const LAGS_MAX: usize = 4;

/// A setting that changed before an error.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Lag {
    /// The setting's hash.
    pub parameter: u64,
    /// From the change to the error.
    pub seconds: u32,
}

/// A change of a setting on a device or at a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Change {
    at: Instant,
    parameter: u64,
    /// The hash of the device or site.
    entity: u64,
}

/// How often a setting was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Changed {
    name: String,
    /// Devices times changes.
    devices: u64,
    /// Sites times changes of all that is at a site.
    sites: u64,
}

/// The changes of late, and how often each setting was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Changes {
    latest: VecDeque<Change>,
    counts: BTreeMap<u64, Changed>,
}

/// A change that may have brought an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// The setting.
    pub parameter: String,
    /// Devices of the group on which it changed within a day before.
    pub devices: u64,
    /// The devices of the group that are looked at.
    pub of: u64,
    /// The median time from the change to the error.
    pub lag_seconds: u32,
    /// How often the error begins on a device in the day after such a change, against at other times.
    pub ratio: Ratio,
}

/// How much there was to see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    /// Devices of the fleet.
    pub devices: f64,
    /// Devices at a site, as a rule.
    pub per_site: f64,
    /// When the first fact came.
    pub from: Instant,
    /// The time asked for.
    pub to: Instant,
}

impl Changes {
    /// Takes in a change on an entity (device or site) that stands for so many devices.
    pub fn add(&mut self, at: Instant, parameter: &str, entity: &str, devices: u32) {
        let key = hash(&[parameter]);
        if self.counts.len() < PARAMETERS_MAX || self.counts.contains_key(&key) {
            let counted = self.counts.entry(key).or_default();
            if counted.name.is_empty() {
                counted.name = parameter.chars().take(128).collect();
            }
            counted.devices += u64::from(devices.max(1));
        }
        let change = Change {
            at,
            parameter: key,
            entity: hash(&[entity]),
        };
        let place = self.latest.partition_point(|known| *known <= change);
        self.latest.insert(place, change);
        if self.latest.len() > CHANGES_MAX {
            self.latest.pop_front();
        }
    }

    /// Changes that were looked up: of which setting on which entity when, and how often each setting was changed on
    /// how many devices and at how many sites. Whoever looks them up sees to it that they are not too many.
    #[must_use]
    pub fn known<'a>(
        latest: impl IntoIterator<Item = (Instant, &'a str, &'a str)>,
        counts: impl IntoIterator<Item = (&'a str, (u64, u64))>,
    ) -> Self {
        let counts = counts.into_iter().map(|(name, (devices, sites))| {
            let name = name.to_owned();
            let key = hash(&[&name]);
            (
                key,
                Changed {
                    name,
                    devices,
                    sites,
                },
            )
        });
        let latest = latest.into_iter().map(|(at, parameter, entity)| Change {
            at,
            parameter: hash(&[parameter]),
            entity: hash(&[entity]),
        });
        let latest: BTreeSet<Change> = latest.collect();
        Self {
            latest: latest.into_iter().collect(),
            counts: counts.collect(),
        }
    }

    /// The settings that changed on a device or its site within a day before, the nearest first.
    #[must_use]
    pub fn before(&self, at: Instant, device: u64, site: Option<u64>) -> Vec<Lag> {
        let mut lags: Vec<Lag> = Vec::new();
        let end = self.latest.partition_point(|change| change.at <= at);
        for change in self
            .latest
            .iter()
            .take(end)
            .rev()
            .take_while(|change| change.at.0 >= at.0 - WINDOW)
        {
            let is_here = change.entity == device || Some(change.entity) == site;
            if is_here && !lags.iter().any(|lag| lag.parameter == change.parameter) {
                let seconds = u32::try_from((at.0 - change.at.0) / SECOND).unwrap_or(u32::MAX);
                lags.push(Lag {
                    parameter: change.parameter,
                    seconds,
                });
                if lags.len() == LAGS_MAX {
                    break;
                }
            }
        }
        lags
    }

    /// The settings that may have brought a group, the most telling first: those after whose change it begins more often
    /// than at other times, the whole interval above 1, with the level shared between the settings looked at (Bonferroni).
    #[must_use]
    pub fn suspects(&self, group: &Group, watched: &Watched) -> Vec<Suspect> {
        let mut lags: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for lag in group.devices.values().flat_map(|device| &device.after) {
            lags.entry(lag.parameter).or_default().push(lag.seconds);
        }
        let level = 1.0 - (1.0 - LEVEL) / float(lags.len().max(1));
        let mut suspects: Vec<Suspect> = lags
            .into_iter()
            .filter_map(|lags| self.suspect(lags, (group, watched), level))
            .collect();
        suspects.sort_by(|a, b| {
            b.ratio
                .low
                .total_cmp(&a.ratio.low)
                .then_with(|| a.parameter.cmp(&b.parameter))
        });
        suspects
    }

    fn suspect(
        &self,
        (parameter, mut lags): (u64, Vec<u32>),
        (group, watched): (&Group, &Watched),
        level: f64,
    ) -> Option<Suspect> {
        let changed = self.counts.get(&parameter)?;
        lags.sort_unstable();
        let of = group.devices.len();
        let days =
            watched.devices.max(float(of)) * (float(watched.to.0 - watched.from.0) / float(DAY));
        let after = float(changed.devices) + float(changed.sites) * watched.per_site;
        let after = after.min(days);
        let counts = (float(lags.len()), float(of.saturating_sub(lags.len())));
        let ratio =
            trend::ratio(counts, (after, days - after), level).filter(|ratio| ratio.low > 1.0)?;
        let lag_seconds = lags.get(lags.len() / 2).copied()?;
        let devices = u64::try_from(lags.len()).unwrap_or(u64::MAX);
        Some(Suspect {
            parameter: changed.name.clone(),
            devices,
            of: u64::try_from(of).unwrap_or(u64::MAX),
            lag_seconds,
            ratio,
        })
    }

    /// The setting that changed on the most devices of a group within a day before, on how many, and how long before at
    /// the least.
    #[must_use]
    pub fn of_devices(&self, at: Instant, group: &Group) -> Option<(String, u64, u32)> {
        let mut found: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
        let end = self.latest.partition_point(|change| change.at <= at);
        for change in self
            .latest
            .iter()
            .take(end)
            .rev()
            .take_while(|change| change.at.0 >= at.0 - WINDOW)
        {
            if group.devices.contains_key(&change.entity) {
                let seconds = u32::try_from((at.0 - change.at.0) / SECOND).unwrap_or(u32::MAX);
                let (devices, nearest) = found.entry(change.parameter).or_insert((0, seconds));
                *devices += 1;
                *nearest = (*nearest).min(seconds);
            }
        }
        let (parameter, (devices, nearest)) = found
            .into_iter()
            .max_by_key(|(_, (devices, nearest))| (*devices, std::cmp::Reverse(*nearest)))?;
        Some((self.counts.get(&parameter)?.name.clone(), devices, nearest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::errors::group::Event;
    use crate::insights::input::HOUR;
    use crate::insights::input::Severity;

    const WATCHED: Watched = Watched {
        devices: 20.0,
        per_site: 1.0,
        from: Instant(0),
        to: Instant(30 * DAY),
    };

    fn name(number: usize) -> String {
        format!("dev-{number}")
    }

    /// The error begins on ten devices, on so many of them an hour after `a` changed.
    fn story(after_change: usize) -> (Changes, Group) {
        let mut changes = Changes::default();
        (0..after_change).for_each(|number| changes.add(Instant(20 * DAY), "a", &name(number), 1));
        (0..20).for_each(|number| changes.add(Instant(2 * DAY), "b", &name(number), 1));
        let mut group = None;
        for number in 0..10 {
            let (at, device) = (Instant(20 * DAY + HOUR), hash(&[&name(number)]));
            let lags = changes.before(at, device, None);
            let event = Event {
                at,
                variant: 1,
                severity: Severity::Error,
                device: Some((device, &lags)),
            };
            group
                .get_or_insert_with(|| Group::new("DEVICE", None, &event))
                .add(&event);
        }
        (changes, group.unwrap())
    }

    #[test]
    fn a_change_before_most_is_suspected() {
        let (changes, group) = story(8);
        let suspects = changes.suspects(&group, &WATCHED);
        assert_eq!(
            (
                suspects.len(),
                suspects[0].parameter.as_str(),
                suspects[0].devices,
                suspects[0].of
            ),
            (1, "a", 8, 10)
        );
        assert_eq!(suspects[0].lag_seconds, 3_600);
        assert_eq!(
            changes.of_devices(Instant(20 * DAY + HOUR), &group),
            Some(("a".into(), 8, 3_600))
        );
    }

    #[test]
    fn a_change_long_before_is_not() {
        let (changes, group) = story(0);
        assert!(changes.suspects(&group, &WATCHED).is_empty());
    }

    #[test]
    fn a_change_that_is_made_all_the_time_is_not() {
        let (mut changes, group) = story(8);
        (0..500).for_each(|number| changes.add(Instant(number * HOUR), "a", &name(15), 1));
        assert!(changes.suspects(&group, &WATCHED).is_empty());
    }

    #[test]
    fn a_change_at_the_site_counts_and_a_later_one_does_not() {
        let mut changes = Changes::default();
        changes.add(Instant(DAY), "a", "site-1", 9);
        changes.add(Instant(2 * DAY), "b", "site-1", 9);
        let lags = changes.before(
            Instant(DAY + HOUR),
            hash(&["dev-1"]),
            Some(hash(&["site-1"])),
        );
        assert_eq!(
            lags,
            vec![Lag {
                parameter: hash(&["a"]),
                seconds: 3_600
            }]
        );
        assert!(
            changes
                .before(Instant(DAY + HOUR), hash(&["dev-1"]), None)
                .is_empty()
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut changes = Changes::default();
        (0..5_000).for_each(|number| changes.add(Instant(number), &format!("p{number}"), "dev", 1));
        assert_eq!(
            (changes.latest.len(), changes.counts.len()),
            (CHANGES_MAX, PARAMETERS_MAX)
        );
    }
}
