//! Events that are to be deleted, and that an export which was asked for is still to read. An export has what was there
//! when it was asked for: so they are waited with until it is made. What is overdue is deleted all the same, and
//! the exports that lack it fail with that: whoever asks again and again for exports keeps nothing by it.

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{Ask, Code, Source, rows};
use crate::event::Instant;
use crate::store::{Doing, Leaving, Sql, StoreError};

const DOING: &str = "look for exports that are not made";
/// Why an export is not made that would lack something.
const WHY: &str = "events that it asks for were deleted before it was made, since they were overdue: ask for it again";

/// Whether events are waited with until exports are made; if they are overdue these fail.
pub(crate) fn awaits(
    tx: &DatabaseTransaction,
    leaving: Leaving,
) -> BoxFuture<'_, Result<bool, StoreError>> {
    Box::pin(async move {
        // who asks from now on is answered when they are gone
        rows::lock(tx).await?;
        let asking = asking(tx, &leaving).await?;
        if !leaving.is_overdue {
            return Ok(!asking.is_empty());
        }
        for export_id in asking {
            let why = (Code::EventsDeleted, WHY);
            rows::fail(tx, &export_id, (why, leaving.now)).await?;
        }
        Ok(false)
    })
}

/// The exports that are not made and ask for some of these events.
async fn asking(tx: &DatabaseTransaction, leaving: &Leaving) -> Result<Vec<String>, StoreError> {
    let mut sql = Sql::new(
        "SELECT export_id, asked FROM exports WHERE state IN ('QUEUED', 'RUNNING') AND position >= ",
    );
    sql.bind(leaving.first.0);
    let rows = tx.query_all_raw(sql.statement(tx.get_database_backend()));
    let mut asking = Vec::new();
    for row in rows.await.doing(DOING)? {
        let asked: String = row.try_get_by_index(1).doing(DOING)?;
        // one that is not understood any more is not made
        let ask = serde_json::from_str::<Ask>(&asked).ok();
        if ask.is_some_and(|ask| asks_for(&ask, leaving)) {
            asking.push(row.try_get_by_index(0).doing(DOING)?);
        }
    }
    Ok(asking)
}

/// Whether some of these events are asked for, by their kind and when they happened.
fn asks_for(ask: &Ask, leaving: &Leaving) -> bool {
    let at = |text: &Option<String>| text.as_deref().and_then(Instant::parse);
    let (first, last) = leaving.times;
    let ends_before = at(&ask.from).is_some_and(|from| last < from);
    let begins_after = at(&ask.to).is_some_and(|to| first >= to);
    let mut kinds = ask.sources.iter().filter_map(Source::kind);
    !ends_before && !begins_after && kinds.any(|kind| kind == leaving.kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Position;
    use crate::kinds::Kind;

    #[test]
    fn what_is_asked_for_is_known_by_its_kind_and_its_time() {
        let at = |text: &str| Instant::parse(text).unwrap();
        let leaving = Leaving {
            kind: Kind::DeviceMetrics,
            times: (at("2026-11-02T00:00:00Z"), at("2026-11-03T23:00:00Z")),
            first: Position(1),
            is_overdue: false,
            now: at("2026-11-23T12:00:00Z"),
        };
        for (name, from, to, expected) in [
            ("deviceMetrics", None, None, true),
            ("errorLogs", None, None, false),
            ("deviceMetrics", Some("2026-11-03T23:00:00Z"), None, true),
            ("deviceMetrics", Some("2026-11-03T23:00:01Z"), None, false),
            ("deviceMetrics", None, Some("2026-11-02T00:00:01Z"), true),
            ("deviceMetrics", None, Some("2026-11-02T00:00:00Z"), false),
        ] {
            let asked =
                json!({ "sources": [{ "name": name }], "from": from, "to": to, "format": "jsonl" });
            let ask: Ask = serde_json::from_value(asked).unwrap();
            assert_eq!(asks_for(&ask, &leaving), expected, "{name} {from:?} {to:?}");
        }
    }
}
