//! How jobs ended, as of an instant: of sites and of the whole fleet from what is summed up, of devices from the log.
//!
//! What counts is the year before: whole months of the year before the month of the instant, the days of that month,
//! and of the last day what had ended by the instant, which is looked up in the log unless all of the day had.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

use super::Held;
use crate::event::{Cell, Event, Instant, Provenance};
use crate::insights::input::DAY;
use crate::insights::jobs::success::{Ended, FleetJobs, SiteJobs, Tally};
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::projections::job_success::{FLEET, Key, Span, Sum, devices, tallied};
use crate::projections::rollups::places::Places;
use crate::store::{Columns, Doing, Order, PageQuery, Place, Sql, Store, StoreError};

/// So long before an instant a job must have ended to count no more.
const YEAR: i64 = 366 * DAY;
/// Outcomes that are read at once.
const PAGE: usize = 1_000;
/// Outcomes at most that are read of devices, the newest.
const OUTCOMES_MAX: usize = 10_000;
const READ: &str = "read how jobs ended";

/// How jobs ended at some sites and in the whole fleet.
#[derive(Clone, Debug, Default)]
pub struct JobsRead {
    /// Of each site, by its key.
    sites: BTreeMap<i64, SiteJobs>,
    /// Of the whole fleet.
    fleet: Vec<Ended>,
}

impl JobsRead {
    /// The sites at which a job ended, by their keys.
    #[must_use]
    pub const fn sites(&self) -> &BTreeMap<i64, SiteJobs> {
        &self.sites
    }

    /// Whether no job ended at any of the sites.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// The jobs of a site.
    #[must_use]
    pub fn at(&self, site_key: i64) -> SiteJobs {
        self.sites.get(&site_key).cloned().unwrap_or_default()
    }

    /// The jobs of the whole fleet, for one type.
    #[must_use]
    pub fn fleet(&self, job_type: &str) -> FleetJobs {
        let sum = |is_meant: &dyn Fn(&Ended) -> bool| {
            let meant = self.fleet.iter().filter(|ended| is_meant(ended));
            meant.fold(Tally::default(), |sum, ended| sum.and(ended.tally))
        };
        FleetJobs {
            of_type: sum(&|ended| ended.job_type == job_type),
            all: sum(&|_| true),
        }
    }

    /// The jobs of sums that are of some types.
    fn of_types(sums: &[(i64, Ended)], job_types: Option<&[String]>) -> Self {
        let is_meant =
            |ended: &Ended| job_types.is_none_or(|types| types.contains(&ended.job_type));
        let mut of_sites: BTreeMap<i64, Vec<Ended>> = BTreeMap::new();
        for (site, ended) in sums.iter().filter(|(_, ended)| is_meant(ended)) {
            of_sites.entry(*site).or_default().push(ended.clone());
        }
        let fleet = of_sites.remove(&FLEET).unwrap_or_default();
        let sites = of_sites.iter();
        let sites = sites.map(|(site, ended)| (*site, SiteJobs::of(ended)));
        Self {
            sites: sites.collect(),
            fleet,
        }
    }
}

/// What is summed up of some sites, each by its key, and of the whole fleet.
type Sums = Vec<(i64, Ended)>;

impl Held {
    /// How jobs ended at some sites and in the whole fleet, of a provenance and some types, within the year until an
    /// instant.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    #[must_use]
    pub fn jobs<'a>(
        &'a self,
        site_keys: &'a [i64],
        (provenance, as_of): (Provenance, Instant),
        job_types: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<JobsRead, StoreError>> {
        Box::pin(async move {
            let mut keys = site_keys.to_vec();
            keys.push(FLEET);
            let sums = summed(&self.store, &keys, (provenance, as_of)).await?;
            Ok(JobsRead::of_types(&sums, job_types))
        })
    }

    /// The same of jobs on some devices, the newest 10,000, each at the site at which its device stood.
    ///
    /// # Errors
    /// When the tables or what was archived cannot be read.
    #[must_use]
    pub fn jobs_of_devices<'a>(
        &'a self,
        device_keys: &'a [i64],
        (provenance, as_of): (Provenance, Instant),
        job_types: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<JobsRead, StoreError>> {
        Box::pin(async move {
            let cells = device_keys.iter().copied().map(Cell::Int).collect();
            let of_devices = Filter::Is(Operand::Device, Operator::In(cells));
            let range = (Instant(as_of.0.saturating_sub(YEAR)), as_of);
            let filter = Filter::And(vec![of_devices, within(range, provenance)]);
            let sums = tally(&self.store, filter, OUTCOMES_MAX).await?;
            Ok(JobsRead::of_types(&sums, job_types))
        })
    }
}

/// What is summed up of some sites until an instant.
async fn summed(
    store: &Store,
    site_keys: &[i64],
    (provenance, as_of): (Provenance, Instant),
) -> Result<Sums, StoreError> {
    let (day, month) = (Span::Day.start(as_of), Span::Month.start(as_of));
    let first = Span::Month.start(Instant(month.0.saturating_sub(YEAR)));
    let tx = store.readers().snapshot().await.doing(READ)?;
    let whose = (site_keys, provenance);
    let mut sums = select(&tx, whose, (Span::Month, first, month)).await?;
    sums.extend(select(&tx, whose, (Span::Day, month, day)).await?);
    let last = select(&tx, whose, (Span::Day, day, Instant(day.0 + 1))).await?;
    // nothing was written
    tx.rollback().await.doing(READ)?;
    if last.iter().all(|(_, ended)| ended.last <= as_of) {
        sums.extend(last);
        return Ok(sums);
    }
    let ended = tally(store, within((day, as_of), provenance), usize::MAX).await?;
    let asked = ended.into_iter();
    sums.extend(asked.filter(|(site, _)| site_keys.contains(site)));
    Ok(sums)
}

async fn select(
    tx: &DatabaseTransaction,
    (site_keys, provenance): (&[i64], Provenance),
    (span, from, to): (Span, Instant, Instant),
) -> Result<Sums, StoreError> {
    let mut sql = Sql::new(
        "SELECT t.site_key, t.job_type, t.block, CAST(sum(t.succeeded) AS BIGINT), \
         CAST(sum(t.failed) AS BIGINT), min(t.first_at), max(t.last_at) FROM ",
    );
    sql.each(site_keys)
        .push(" CROSS JOIN job_tallies t WHERE t.site_key = k.value AND t.provenance = ")
        .bind(provenance.code())
        .push(" AND t.span = ")
        .bind(span.code())
        .push(" AND t.start_at >= ")
        .bind(from.0)
        .push(" AND t.start_at < ")
        .bind(to.0)
        .push(" GROUP BY t.site_key, t.job_type, t.block");
    let rows = tx
        .query_all_raw(sql.statement(tx.get_database_backend()))
        .await;
    let rows = rows.doing(READ)?;
    rows.iter().map(|row| sum_of(row).doing(READ)).collect()
}

fn sum_of(row: &QueryResult) -> Result<(i64, Ended), sea_orm::DbErr> {
    let number = |index: usize| row.try_get_by_index::<i64>(index);
    let ended = Ended {
        job_type: row.try_get_by_index(1)?,
        block: usize::try_from(number(2)?).unwrap_or_default(),
        tally: tally_of((number(3)?, number(4)?)),
        first: Instant(number(5)?),
        last: Instant(number(6)?),
    };
    Ok((number(0)?, ended))
}

fn tally_of((succeeded, failed): (i64, i64)) -> Tally {
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Tally {
        succeeded: count(succeeded),
        failed: count(failed),
    }
}

/// The condition on outcomes of a provenance, from an instant until another.
fn within((from, to): (Instant, Instant), provenance: Provenance) -> Filter {
    let is = |of: Envelope, operator: Operator| Filter::Is(Operand::Envelope(of), operator);
    Filter::And(vec![
        is(Envelope::OccurredAt, Operator::AtLeast(Cell::Int(from.0))),
        is(Envelope::OccurredAt, Operator::AtMost(Cell::Int(to.0))),
        is(
            Envelope::Provenance,
            Operator::In(vec![Cell::Int(provenance.code())]),
        ),
    ])
}

/// Sums up outcomes, the newest first, page by page: of devices where these stood.
async fn tally(store: &Store, filter: Filter, max: usize) -> Result<Sums, StoreError> {
    let kind = Kind::JobOutcome;
    let fields = ["jobType", "scope", "status"];
    let fields = fields.iter().filter_map(|name| kind.spec().index_of(name));
    let columns = Columns::NONE.with_source().with_subject(kind.spec());
    let mut query = PageQuery {
        filter,
        order: Order::NewestFirst,
        limit: PAGE,
        ..PageQuery::all_of(kind, fields.fold(columns, Columns::with))
    };
    let (mut sums, mut read) = (Sums::new(), 0);
    loop {
        let page = store.page(&query, &Store::own_allowance()).await?;
        let outcomes: Vec<&Event> = page.iter().collect();
        let places = Places::said(store.readers(), &devices(&outcomes), i64::MAX).await?;
        sums.extend(of_days(tallied(&outcomes, &places)));
        read += page.len();
        query.after = page.last().map(Place::of);
        if page.len() < PAGE || read >= max {
            return Ok(sums);
        }
    }
}

/// Those of days: those of months say the same once more.
fn of_days(sums: BTreeMap<Key, Sum>) -> Sums {
    let days = sums.into_iter().filter(|(key, _)| key.span == Span::Day);
    let ended = days.map(|(key, sum)| {
        let ended = Ended {
            job_type: key.job_type,
            block: key.block,
            tally: tally_of((sum.succeeded, sum.failed)),
            first: sum.first,
            last: sum.last,
        };
        (key.site, ended)
    });
    ended.collect()
}
