//! What of states is not known since their device was silent.
//!
//! That a device is ONLINE is known for as long as it is heard of: for three of its intervals after its last reading
//! or report of that state, and for an hour at least. From then on nobody knows, until it is heard of again.
//! OFFLINE, ERROR and MAINTENANCE last until another state is reported, since silence mends nothing. So does ONLINE
//! before the first reading of a device: none was to come.

use std::collections::HashMap;

use sea_orm::DatabaseTransaction;

use super::read::{TAIL_MAX, checkpoint};
use super::states::{Held, Reports, Sign, State, StatesError};
use crate::projections::rollups::tables::all;
use crate::projections::silences::{ENDLESS, EVER, LEAST, Silences};
use crate::store::{Allowance, Doing, List, Sql};

/// Silences at most that are read for an answer.
const SILENCES_MAX: usize = 500_000;

const READ: &str = "read when devices were silent";
/// Three intervals of a second, in microseconds.
const PATIENCE: i64 = 3 * 1_000_000;
/// What a silence takes in memory.
const BYTES: usize = 64;

/// The silences of some devices.
#[derive(Debug, Default)]
pub(super) struct Silent(HashMap<i64, OfDevice>);

/// Those of one.
#[derive(Debug)]
struct OfDevice {
    silences: Silences,
    /// For how long it may be silent, in microseconds.
    patience: i64,
}

impl Silent {
    /// Reads those of some time, of the devices that were ever ONLINE in it. If too much is not folded yet, no silence
    /// is known.
    pub(super) async fn read(
        tx: &DatabaseTransaction,
        (reports, range): (&Reports, (i64, i64)),
        allowance: &Allowance,
    ) -> Result<Self, StatesError> {
        let devices: Vec<i64> = reports.signs.keys().copied().collect();
        let (folded, head) = (checkpoint(tx, "silences").await?, reports.position.0);
        let mut silent = Self::default();
        if devices.is_empty() || head - folded > TAIL_MAX {
            return Ok(silent);
        }
        let rows = all(tx, kept(&devices, range)).await?;
        if rows.len() > SILENCES_MAX {
            return Err(StatesError::Silences { max: SILENCES_MAX });
        }
        for row in rows {
            let device: i64 = row.try_get_by_index(0).doing(READ)?;
            let from: i64 = row.try_get_by_index(1).doing(READ)?;
            let until: i64 = row.try_get_by_index(2).doing(READ)?;
            let seconds: Option<i64> = row.try_get_by_index(3).doing(READ)?;
            allowance.take(BYTES)?;
            let of_device = silent.0.entry(device).or_insert_with(|| OfDevice {
                silences: Silences::default(),
                patience: patience(seconds),
            });
            of_device.silences.add((from, until));
        }
        if head > folded {
            for row in all(tx, unfolded(&devices, (folded, head))).await? {
                let device: i64 = row.try_get_by_index(0).doing(READ)?;
                let at: i64 = row.try_get_by_index(1).doing(READ)?;
                allowance.take(BYTES)?;
                let of_device = silent.0.entry(device).or_insert_with(OfDevice::ever);
                of_device.silences.part(at);
            }
        }
        Ok(silent)
    }

    /// The states of a device as far as they are known, by when it was told to be ONLINE.
    pub(super) fn known(&self, device: i64, states: Vec<Held>, signs: &[Sign]) -> Vec<Held> {
        let Some(of_device) = self.0.get(&device) else {
            return states;
        };
        let unknown = of_device.unknown(signs);
        let mut known = Vec::with_capacity(states.len());
        for held in states {
            if held.state != State::Online {
                push(&mut known, held);
                continue;
            }
            let first = unknown.partition_point(|(_, until)| *until <= held.from);
            let within = unknown.iter().skip(first);
            let mut from = held.from;
            for (start, end) in within.take_while(|(start, _)| *start < held.until) {
                let end = (*end).min(held.until);
                push(
                    &mut known,
                    Held {
                        from,
                        until: *start,
                        ..held.clone()
                    },
                );
                push(
                    &mut known,
                    Held {
                        state: State::Unknown,
                        from: from.max(*start),
                        until: end,
                        since: Some(*start),
                    },
                );
                from = end;
            }
            push(&mut known, Held { from, ..held });
        }
        known
    }
}

impl OfDevice {
    /// One that has sent no reading yet that is folded.
    fn ever() -> Self {
        Self {
            silences: Silences::ever(),
            patience: patience(None),
        }
    }

    /// When it was silent for longer than it may be.
    fn unknown(&self, signs: &[Sign]) -> Vec<(i64, i64)> {
        let mut unknown = Vec::new();
        let mut note = |heard: i64, until: i64| {
            let lost = heard.saturating_add(self.patience);
            unknown.extend((lost < until).then_some((lost, until)));
        };
        // before its first reading nothing was to come
        for (from, until) in self.silences.times().filter(|(from, _)| *from != EVER) {
            let mut heard = from;
            let first = signs.partition_point(|(_, last)| *last <= from);
            let within = signs.iter().skip(first);
            for (first, last) in within.take_while(|(first, _)| *first < until) {
                note(heard, *first);
                heard = *last;
            }
            note(heard, until);
        }
        unknown
    }
}

/// For how long a device may be silent that reports every so many seconds.
fn patience(seconds: Option<i64>) -> i64 {
    LEAST.max(seconds.unwrap_or(0).saturating_mul(PATIENCE))
}

/// Adds a time, if it is one; what follows in the same state is of the same.
fn push(known: &mut Vec<Held>, held: Held) {
    if held.from >= held.until {
        return;
    }
    let last = known.last_mut();
    match last.filter(|last| last.state == held.state && last.until == held.from) {
        Some(last) => last.until = held.until,
        None => known.push(held),
    }
}

/// The silences that are folded and longer than the device may be silent, and of each device the first and the last:
/// what is not folded yet may part them.
fn kept(devices: &[i64], (from, to): (i64, i64)) -> Sql {
    let mut sql = Sql::new(
        "SELECT s.device_key, s.from_at, s.until_at, i.seconds FROM device_silences s \
         LEFT JOIN device_intervals i ON i.device_key = s.device_key WHERE s.until_at > ",
    );
    sql.bind(from).push(" AND (s.until_at = ").bind(ENDLESS);
    sql.push(" OR s.from_at < ").bind(to);
    sql.push(") AND (s.from_at = ").bind(EVER);
    sql.push(" OR s.until_at - s.from_at > coalesce(i.seconds, 0) * ")
        .bind(PATIENCE);
    sql.push(") AND ");
    sql.among("s.device_key", List::Int(devices.to_vec()));
    let limit = i64::try_from(SILENCES_MAX).unwrap_or(i64::MAX - 1) + 1;
    sql.push(" LIMIT ").bind(limit);
    sql
}

/// Readings that are not folded yet: they are in their table still.
fn unfolded(devices: &[i64], (after, upto): (i64, i64)) -> Sql {
    let mut sql =
        Sql::new("SELECT m.device_key, m.occurred_at FROM device_metrics m WHERE m.position > ");
    sql.bind(after).push(" AND m.position <= ").bind(upto);
    sql.push(" AND ");
    sql.among("m.device_key", List::Int(devices.to_vec()));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = LEAST;

    fn silent(times: &[(i64, i64)], seconds: Option<i64>) -> Silent {
        let mut silences = Silences::default();
        for (from, until) in times {
            silences.add((*from, *until));
        }
        let patience = patience(seconds);
        Silent(HashMap::from([(1, OfDevice { silences, patience })]))
    }

    fn held(state: State, from: i64, until: i64) -> Held {
        Held {
            state,
            from: from * HOUR,
            until: until * HOUR,
            since: Some(from * HOUR),
        }
    }

    fn shown(known: &[Held]) -> Vec<(State, i64, i64)> {
        let shown = |held: &Held| (held.state, held.from / HOUR, held.until / HOUR);
        known.iter().map(shown).collect()
    }

    #[test]
    fn of_a_silent_device_only_that_it_is_online_is_not_known_any_more() {
        let states = vec![
            held(State::Online, 1, 10),
            held(State::Error, 10, 20),
            held(State::Online, 20, 30),
        ];
        let signs = [(HOUR, HOUR), (20 * HOUR, 20 * HOUR)];
        let silent = silent(&[(EVER, 2 * HOUR), (3 * HOUR, 25 * HOUR)], None);
        let known = silent.known(1, states.clone(), &signs);
        assert_eq!(
            shown(&known),
            [
                (State::Online, 1, 4),
                (State::Unknown, 4, 10),
                (State::Error, 10, 20),
                (State::Online, 20, 21),
                (State::Unknown, 21, 25),
                (State::Online, 25, 30),
            ]
        );
        assert_eq!(known[1].since, Some(4 * HOUR));
        assert_eq!(known[5].since, Some(20 * HOUR));
        assert_eq!(silent.known(2, states.clone(), &signs), states);
    }

    #[test]
    fn it_may_be_silent_for_three_of_its_intervals_and_a_report_is_a_sign_of_life() {
        let states = vec![held(State::Online, 0, 40)];
        let signs = [(5 * HOUR, 8 * HOUR)];
        let silent = silent(&[(4 * HOUR, ENDLESS)], Some(2 * 3_600));
        assert_eq!(
            shown(&silent.known(1, states.clone(), &signs)),
            [(State::Online, 0, 14), (State::Unknown, 14, 40)]
        );
        // also when it was lost before what is asked for
        let late = vec![held(State::Online, 20, 40)];
        let known = silent.known(1, late, &signs);
        assert_eq!(shown(&known), [(State::Unknown, 20, 40)]);
        assert_eq!(known[0].since, Some(14 * HOUR));
    }
}
