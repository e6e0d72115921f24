//! The changes of the configuration of devices: the newest of one, however many there were, and which devices have not
//! had one.

use std::collections::BTreeSet;
use std::ops::Range;

use entity::configuration_history::Column;
use sea_orm::DatabaseTransaction;

use super::Held;
use crate::event::{Event, Instant, Position, Provenance};
use crate::insights::input::ConfigSeen;
use crate::kinds::Kind;
use crate::projections::insights::rows::heads;
use crate::store::{Columns, Doing, Since, Sources, StoreError, each_since};

/// Changes at most that are read of a device.
const CHANGES_MAX: usize = 1_000;
/// Devices of which it is looked at once whether they were changed.
const AT_ONCE: usize = 1_000;

/// What devices are to be like.
#[derive(Clone, Debug)]
pub struct Unchanged<'a> {
    /// The parameter that was not changed on them.
    pub parameter: &'a str,
    /// When it was not.
    pub time: Range<Instant>,
    /// Those come first of which anything was measured in it, as far as that is folded.
    pub provenance: Provenance,
    /// So many at most.
    pub max: usize,
}

/// Those of some devices that are like that.
pub(super) async fn unchanged(
    held: &Held,
    keys: &[i64],
    asked: &Unchanged<'_>,
) -> Result<Vec<i64>, StoreError> {
    let doing = "look which devices were not changed";
    let tx = held.store.readers().snapshot().await.doing(doing)?;
    let archive = held.store.archive_of();
    let sources = Sources {
        names: held.store.names(),
        archive: Some(&archive),
    };
    let (mut found, mut others): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    for keys in keys.chunks(AT_ONCE) {
        let changed = changed((&tx, sources), keys, asked).await?;
        let measured = measured(&tx, keys, asked.provenance).await?;
        for key in keys.iter().copied().filter(|key| !changed.contains(key)) {
            if measured.contains(&key) {
                found.push(key);
            } else if others.len() < asked.max {
                others.push(key);
            }
        }
        if found.len() >= asked.max {
            break;
        }
    }
    // nothing was written
    tx.rollback().await.doing(doing)?;
    found.extend(others);
    found.truncate(asked.max);
    Ok(found)
}

/// Those of some devices of which anything was measured in a provenance, as far as it is folded.
async fn measured(
    tx: &DatabaseTransaction,
    keys: &[i64],
    provenance: Provenance,
) -> Result<BTreeSet<i64>, StoreError> {
    let heads = heads(tx, Some(keys)).await?.into_iter();
    let measured = heads.filter(|head| head.whose.1 == provenance && head.measured_at > 0);
    Ok(measured.map(|head| head.whose.0).collect())
}

/// Those of some devices on which the parameter was changed in the time.
async fn changed(
    (tx, sources): (&DatabaseTransaction, Sources<'_>),
    keys: &[i64],
    asked: &Unchanged<'_>,
) -> Result<BTreeSet<i64>, StoreError> {
    let devices: Vec<[i64; 2]> = keys.iter().map(|key| [*key, asked.time.start.0]).collect();
    let since = Since {
        kind: Kind::ConfigurationChange,
        columns: Columns::SMALL,
        devices: &devices,
        until: asked.time.end.0,
        upto: i64::MAX,
    };
    let mut changed = BTreeSet::new();
    let mut each = |event: &Event| -> Result<(), StoreError> {
        if event.fact.cell(Column::ParameterName).text() == Some(asked.parameter) {
            changed.extend(event.fact.device_key());
        }
        Ok(())
    };
    each_since(tx, sources, since, &mut each).await?;
    Ok(changed)
}

/// The newest changes of a device, which are told in whatever order. Never more than twice as many are held.
#[derive(Debug, Default)]
pub(super) struct Newest(Vec<(Instant, Position, String)>);

impl Newest {
    /// Takes a change.
    pub(super) fn take(&mut self, position: Position, change: ConfigSeen) {
        self.0.push((change.at, position, change.parameter));
        if self.0.len() >= 2 * CHANGES_MAX {
            self.cut();
        }
    }

    /// Leaves those that are the newest, in order of time.
    fn cut(&mut self) {
        self.0.sort_unstable();
        let older = self.0.len().saturating_sub(CHANGES_MAX);
        self.0.drain(..older);
    }

    /// They in order of time.
    pub(super) fn end(mut self) -> Vec<ConfigSeen> {
        self.cut();
        let changes = self.0.into_iter();
        let changes = changes.map(|(at, _, parameter)| ConfigSeen { at, parameter });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_changes_the_newest_are_kept_in_whatever_order_they_come() {
        let mut newest = Newest::default();
        for number in 0..7_000 {
            // each of 0 to 6,999 once
            let at = number * 3_001 % 7_000;
            let parameter = format!("p{at}");
            let at = Instant(at);
            newest.take(Position(number), ConfigSeen { at, parameter });
            assert!(newest.0.len() < 2 * CHANGES_MAX);
        }
        let kept = newest.end();
        let expected: Vec<i64> = (6_000..7_000).collect();
        let at: Vec<i64> = kept.iter().map(|change| change.at.0).collect();
        assert_eq!(at, expected);
        assert_eq!(kept[0].parameter, "p6000");
        let mut few = Newest::default();
        for (position, at) in [(3, 5), (1, 7), (2, 5)] {
            let parameter = format!("{position}");
            let at = Instant(at);
            few.take(Position(position), ConfigSeen { at, parameter });
        }
        let few = few.end().into_iter().map(|change| change.parameter);
        assert_eq!(few.collect::<Vec<_>>(), ["2", "3", "1"]);
    }
}
