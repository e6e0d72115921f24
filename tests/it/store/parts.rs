//! Parts of the log: each holds few events, and all of them together what there is.

use homepot_analytics::event::{Event, Instant, Position};
use homepot_analytics::kinds::{Envelope, Filter, Operand, Operator};
use homepot_analytics::store::{Order, PageQuery, Place, Scope};

use super::filters::{all_of, filled};
use super::segments::{archivable, archive};
use crate::support::{Database, TestLog, at, contract};

contract![parts_are_small_and_together_all_that_is_asked_for];

const PART: usize = 3;

/// All of a query, part by part.
async fn by_parts(log: &TestLog, mut query: PageQuery) -> Vec<Vec<Event>> {
    let mut parts = Vec::new();
    loop {
        let end = log.part_end(&query, PART).await.unwrap();
        query.before = end.map(Place::next);
        parts.push(log.page(&query, &log.allowance()).await.unwrap());
        let Some(end) = end else {
            return parts;
        };
        query.after = Some(end);
    }
}

async fn parts_are_small_and_together_all_that_is_asked_for(database: Database) {
    let (log, _) = filled(&database).await;
    for is_archived in [false, true] {
        if is_archived {
            archive(&log).await;
        }
        for kind in archivable() {
            let since = |text: &str| {
                let from = Operator::AtLeast(at(text).0.into());
                Filter::Is(Operand::Envelope(Envelope::OccurredAt), from)
            };
            for filter in [Filter::default(), since("2026-01-31T23:59:57Z")] {
                let query = PageQuery {
                    filter,
                    order: Order::OldestFirst,
                    scope: Scope::All,
                    ..all_of(kind)
                };
                let all = log.page(&query, &log.allowance()).await.unwrap();
                let parts = by_parts(&log, query).await;
                assert!(is_archived || parts.iter().all(|part| part.len() <= PART));
                assert!(parts.len() > 1);
                assert_eq!(parts.concat(), all);
            }
        }
    }
    // nothing is ahead of the end
    let kind = archivable().next().unwrap();
    let query = PageQuery {
        order: Order::OldestFirst,
        after: Some(Place {
            occurred_at: Instant(i64::MAX),
            position: Position(i64::MAX),
        }),
        ..all_of(kind)
    };
    assert_eq!(log.part_end(&query, PART).await.unwrap(), None);
    log.close().await;
}
