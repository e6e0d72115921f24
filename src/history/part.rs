//! Which part of a list is read that is in the order of an instant and an id, the newest first.

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, Order, QueryFilter, QueryOrder, Select,
};

/// Place of a row in its list: its instant, and its id.
pub type Place = (i64, String);

/// A part of a list, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Part {
    /// After this place.
    pub after: Option<Place>,
    /// Before this place.
    pub before: Option<Place>,
    /// Taken from the end of the list.
    pub from_end: bool,
}

impl Part {
    /// What lies on the side from which this part was read, when its first and its last row stand there; `None`
    /// when it begins with the list.
    #[must_use]
    pub fn beyond(&self, first: Option<Place>, last: Option<Place>) -> Option<Self> {
        let (begins_at, after, before) = if self.from_end {
            (&self.before, last, None)
        } else {
            (&self.after, None, first)
        };
        begins_at.as_ref().map(|_| Self {
            after,
            before,
            from_end: false,
        })
    }

    /// The rows of this part, nearest first: one that is taken from the end begins there.
    pub(super) fn of<E: EntityTrait>(
        &self,
        rows: Select<E>,
        (at, id): (E::Column, E::Column),
    ) -> Select<E> {
        let order = if self.from_end {
            Order::Asc
        } else {
            Order::Desc
        };
        let after = self.after.as_ref().map(|(instant, name)| {
            let same = at.eq(*instant).and(id.lt(name.as_str()));
            at.lt(*instant).or(same)
        });
        let before = self.before.as_ref().map(|(instant, name)| {
            let same = at.eq(*instant).and(id.gt(name.as_str()));
            at.gt(*instant).or(same)
        });
        rows.filter(Condition::all().add_option(after).add_option(before))
            .order_by(at, order.clone())
            .order_by(id, order)
    }

    /// Rows that were read so, the newest first.
    pub(super) fn in_order<T>(&self, mut rows: Vec<T>) -> Vec<T> {
        if self.from_end {
            rows.reverse();
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_part_is_where_it_begins() {
        let place = |at: i64| Some((at, "id".to_owned()));
        let (first, last) = (place(9), place(2));
        let part = |after: Option<i64>, before: Option<i64>, from_end| Part {
            after: after.and_then(place),
            before: before.and_then(place),
            from_end,
        };
        for (read, beyond) in [
            (part(None, Some(1), false), None),
            (part(Some(10), None, true), None),
            (
                part(Some(10), None, false),
                Some(part(None, Some(9), false)),
            ),
            (part(None, Some(1), true), Some(part(Some(2), None, false))),
        ] {
            assert_eq!(read.beyond(first.clone(), last.clone()), beyond, "{read:?}");
        }
        // a page without rows has all there are on that side
        let empty = part(Some(10), None, false);
        assert_eq!(empty.beyond(None, None), Some(Part::default()));
    }
}
