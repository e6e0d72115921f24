//! Which sums and models are kept: those of the last weeks, and then the first of each month, for whoever asks what was
//! known then.

use std::collections::BTreeSet;

use chrono::Datelike;
use entity::{insight_fleets, insight_models};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::written::run;
use crate::event::{Instant, Provenance};
use crate::insights::fleet::VERSION;
use crate::insights::input::DAY;
use crate::store::{Doing, List, Sql, Store, StoreError};

/// Of so many days all are kept.
const DAYS_KEPT: i64 = 35;
/// Of so many of them what is usual at each site.
const SITE_DAYS_KEPT: i64 = 2;
const DOING: &str = "read what is kept of fleets";

/// What is kept no more.
#[derive(Debug, Default)]
pub(super) struct Old {
    fleets: Vec<i64>,
    models: Vec<i64>,
    /// What older versions have written before this.
    others_before: i64,
    /// The sites of fleets before this.
    sites_before: i64,
}

/// Whether a day is one of the last weeks before a midnight, of which all are kept.
pub(super) const fn is_recent(day: Instant, midnight: Instant) -> bool {
    day.0 >= midnight.0 - DAYS_KEPT * DAY
}

/// What is to be kept no more after a midnight.
pub(super) async fn old(
    store: &Store,
    provenance: Provenance,
    midnight: Instant,
) -> Result<Old, StoreError> {
    let fleets = insight_fleets::Entity::find()
        .filter(insight_fleets::Column::Provenance.eq(provenance.code()))
        .filter(insight_fleets::Column::Version.eq(VERSION))
        .select_only()
        .column(insight_fleets::Column::Day)
        .order_by_asc(insight_fleets::Column::Day)
        .into_tuple::<i64>();
    let fleets = fleets.all(store.readers()).await.doing(DOING)?;
    let models = insight_models::Entity::find()
        .filter(insight_models::Column::Provenance.eq(provenance.code()))
        .filter(insight_models::Column::Version.eq(VERSION))
        .select_only()
        .columns([
            insight_models::Column::Day,
            insight_models::Column::IsAccepted,
        ])
        .order_by_asc(insight_models::Column::Day)
        .into_tuple::<(i64, i64)>();
    let models = models.all(store.readers()).await.doing(DOING)?;
    let accepted = models.iter().filter(|(_, is_accepted)| *is_accepted == 1);
    let accepted: Vec<i64> = accepted.map(|(day, _)| *day).collect();
    let mut kept = first_of_months(&accepted);
    // the one in force, however old it is
    kept.extend(accepted.last());
    let models = models.into_iter().map(|(day, _)| day);
    Ok(Old {
        models: not_kept(models, &kept, midnight),
        fleets: not_kept(fleets.iter().copied(), &first_of_months(&fleets), midnight),
        others_before: midnight.0 - DAYS_KEPT * DAY,
        sites_before: midnight.0 - SITE_DAYS_KEPT * DAY,
    })
}

fn not_kept(days: impl Iterator<Item = i64>, kept: &BTreeSet<i64>, midnight: Instant) -> Vec<i64> {
    let old = days.filter(|day| !is_recent(Instant(*day), midnight));
    old.filter(|day| !kept.contains(day)).collect()
}

/// Of days in order the first of each month.
fn first_of_months(days: &[i64]) -> BTreeSet<i64> {
    let month = |day: i64| {
        let date = Instant(day).date_time();
        (date.year(), date.month())
    };
    let months = days.chunk_by(|one, next| month(*one) == month(*next));
    months.filter_map(<[i64]>::first).copied().collect()
}

/// Removes what is kept no more.
pub(super) async fn remove(
    tx: &DatabaseTransaction,
    provenance: Provenance,
    old: Old,
) -> Result<(), StoreError> {
    for (table, days) in [
        ("insight_fleets", old.fleets),
        ("insight_models", old.models),
    ] {
        if !days.is_empty() {
            let mut sql = Sql::new(format!("DELETE FROM {table} WHERE provenance = "));
            sql.bind(provenance.code()).push(" AND version = ");
            sql.bind(VERSION).push(" AND ");
            sql.among("day", List::Int(days));
            run(tx, sql).await?;
        }
        let mut sql = Sql::new(format!("DELETE FROM {table} WHERE provenance = "));
        sql.bind(provenance.code()).push(" AND version < ");
        sql.bind(VERSION)
            .push(" AND day < ")
            .bind(old.others_before);
        run(tx, sql).await?;
    }
    let mut sql = Sql::new("UPDATE insight_fleets SET site_pools = NULL WHERE provenance = ");
    sql.bind(provenance.code()).push(" AND version = ");
    sql.bind(VERSION).push(" AND day < ").bind(old.sites_before);
    sql.push(" AND site_pools IS NOT NULL");
    run(tx, sql).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_weeks_are_kept_and_the_first_of_each_month() {
        let start = Instant::parse("2026-01-01T00:00:00Z").unwrap();
        let days: Vec<i64> = (0..120).map(|day| start.0 + day * DAY).collect();
        let midnight = Instant(start.0 + 120 * DAY);
        let old = not_kept(days.iter().copied(), &first_of_months(&days), midnight);
        let kept: Vec<String> = days
            .iter()
            .filter(|day| !old.contains(day))
            .map(|day| Instant(*day).date_time().format("%m-%d").to_string())
            .collect();
        assert_eq!(kept.len(), 3 + 35);
        assert_eq!(kept[..4], ["01-01", "02-01", "03-01", "03-27"]);
    }
}
