//! Reads events for this server itself, page by page, wherever they are kept.

use crate::event::Event;
use crate::kinds::{Envelope, Filter, Operand, Operator};
use crate::store::{PageQuery, Place, Store, StoreError};

/// Events that are held at once.
const PAGE_EVENTS: usize = 1_000;

/// A condition on when something happened.
pub(super) fn happened(operator: Operator) -> Filter {
    Filter::Is(Operand::Envelope(Envelope::OccurredAt), operator)
}

/// Hands the events that are asked for over in their order, no more than the limit.
///
/// # Errors
/// When the log cannot be read.
pub(super) async fn each(
    store: &Store,
    mut query: PageQuery,
    mut each: impl FnMut(&Event) + Send,
) -> Result<(), StoreError> {
    let mut left = query.limit;
    while left > 0 {
        query.limit = left.min(PAGE_EVENTS);
        let page = store.page(&query, &Store::own_allowance()).await?;
        page.iter().for_each(&mut each);
        left -= page.len().min(left);
        if page.len() < query.limit {
            break;
        }
        query.after = page.last().map(Place::of);
    }
    Ok(())
}
