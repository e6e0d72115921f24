//! The secret of a log by which labels are ranked. Days of devices of which some were not told apart, so far by
//! what anybody could reckon, are written down to be summed up anew, and so are their hours and quarters, which
//! have no more than their day.
//!
//! Until that is done, and for ever where the events were deleted for good, the ranks that their rows tell are none
//! by the secret. So they are made the least there is: such a row may have any label, and who asks for one is answered
//! from what lies below, where more of them are told apart.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait itself leaves it out")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(COLUMN).await?;
        let secret = random(db.get_database_backend());
        // a log that is still to be made gets its own with its id
        let made = format!("UPDATE log_head SET label_secret = {secret}");
        db.execute_unprepared(&made).await?;
        db.execute_unprepared(CROWDED).await?;
        for day in crowded(db).await? {
            for table in TABLES {
                hide(db, table, day).await?;
            }
        }
        Ok(())
    }
}

const COLUMN: &str = "ALTER TABLE log_head ADD COLUMN label_secret TEXT NOT NULL DEFAULT ''";

/// What is written down of a day already is of all of it, or goes on beyond it.
const CROWDED: &str = "INSERT INTO rollup_moves (device_key, from_at, until_at) \
    SELECT DISTINCT device_key, bucket_at, bucket_at + 86400000000 FROM device_rollups_1d \
    WHERE labels LIKE '%{\"other\":true}%' ON CONFLICT (device_key, from_at) DO UPDATE SET until_at = \
    CASE WHEN excluded.until_at > rollup_moves.until_at \
    THEN excluded.until_at ELSE rollup_moves.until_at END";

/// More than 240 random bits as hexadecimal digits.
const fn random(backend: DbBackend) -> &'static str {
    if matches!(backend, DbBackend::Postgres) {
        "replace(CAST(gen_random_uuid() AS TEXT) || CAST(gen_random_uuid() AS TEXT), '-', '')"
    } else {
        "lower(hex(randomblob(32)))"
    }
}

/// Those with labels that are not told apart: of sites as a whole nothing with labels is summed up.
const TABLES: [&str; 3] = [
    "device_rollups_15m",
    "device_rollups_1h",
    "device_rollups_1d",
];
/// Kind, device, provenance and midnight of a day of which some labels are not told apart.
type Day = [i64; 4];

/// Those days.
async fn crowded(db: &impl ConnectionTrait) -> Result<Vec<Day>, DbErr> {
    let sql = "SELECT DISTINCT kind, device_key, provenance, bucket_at FROM device_rollups_1d \
        WHERE labels LIKE '%{\"other\":true}%'";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql));
    let day = |row: &QueryResult| -> Result<Day, DbErr> {
        let number = |index| row.try_get_by_index(index);
        Ok([number(0)?, number(1)?, number(2)?, number(3)?])
    };
    rows.await?.iter().map(day).collect()
}

/// Makes the ranks in the rows of a day the least there is.
async fn hide(db: &impl ConnectionTrait, table: &str, day: Day) -> Result<(), DbErr> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT bucket_at, site_key, currency, labels, cells FROM {table} \
         WHERE kind = $1 AND device_key = $2 AND provenance = $3 AND bucket_at >= $4 \
         AND bucket_at < $4 + 86400000000 AND labels LIKE '%{{\"other\":true}}%'"
    );
    let of_day = day.map(Value::from);
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, of_day));
    for row in rows.await? {
        let cells: Vec<u8> = row.try_get_by_index(4)?;
        let Some(cells) = with_least_rank(&cells) else {
            continue;
        };
        let [kind, device, provenance, _] = day;
        let (bucket, site): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let currency: String = row.try_get_by_index(2)?;
        let labels: String = row.try_get_by_index(3)?;
        let sql = format!(
            "UPDATE {table} SET cells = $1 WHERE kind = $2 AND device_key = $3 AND provenance = $4 \
             AND bucket_at = $5 AND site_key = $6 AND currency = $7 AND labels = $8"
        );
        let values: [Value; 8] = [
            cells.into(),
            kind.into(),
            device.into(),
            provenance.into(),
            bucket.into(),
            site.into(),
            currency.into(),
            labels.into(),
        ];
        let update = Statement::from_sql_and_values(backend, sql, values);
        db.execute_raw(update).await?;
    }
    Ok(())
}

/// A row with another rank, which stands behind all else: behind its form, a count, a time and another, which measures
/// it has, a bit for each, and these, each with its length. One that is not so stays as it is.
fn with_least_rank(cells: &[u8]) -> Option<Vec<u8>> {
    let (_form, mut rest) = cells.split_first()?;
    for _ in 0..3 {
        (_, rest) = number(rest)?;
    }
    let (measures, mut rest) = number(rest)?;
    for _ in 0..measures.count_ones() {
        let (length, measure) = number(rest)?;
        rest = measure.get(usize::try_from(length).ok()?..)?;
    }
    let (_rank, nothing) = number(rest)?;
    let before = cells.len().checked_sub(rest.len())?;
    let mut cells = cells.get(..before)?.to_vec();
    cells.push(0);
    nothing.is_empty().then_some(cells)
}

/// The first number of some bytes, seven bits a byte, the lowest first; and the rest of them.
fn number(bytes: &[u8]) -> Option<(u128, &[u8])> {
    let last = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let (number, rest) = bytes.split_at_checked(last + 1)?;
    let mut sum = 0_u128;
    for byte in number.iter().rev() {
        // more than 128 bits are none of ours
        sum = sum.checked_mul(0x80)?;
        sum |= u128::from(byte & 0x7f);
    }
    Some((sum, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_rank_stays() {
        // 300 events, two measures of three and no bytes, and a rank of two bytes
        let row = [1, 0xac, 2, 0, 5, 0b101, 3, 0xff, 0x80, 0xff, 0, 0xff, 1];
        let mut hiding = row[..11].to_vec();
        hiding.push(0);
        assert_eq!(with_least_rank(&row), Some(hiding.clone()));
        assert_eq!(with_least_rank(&hiding), Some(hiding));
    }

    #[test]
    fn what_is_no_such_row_stays_as_it_is() {
        let told_apart = [1, 1, 0, 0, 0];
        let too_long = [1, 1, 0, 0, 1, 9, 0, 0];
        let goes_on = [1, 1, 0, 0, 0, 7, 7];
        let endless = [1, 0x80, 0x80];
        for cells in [&told_apart[..], &too_long, &goes_on, &endless, &[]] {
            assert_eq!(with_least_rank(cells), None, "{cells:?}");
        }
    }
}
