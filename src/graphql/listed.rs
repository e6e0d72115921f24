//! Lists of what is in a table of its own, in the order of an instant and an id: how many rows, from which
//! place, and where a page stands among the others.

use async_graphql::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{bad_input, too_much};
use super::pages::PageInfo;
use crate::history::{Part, Place};

/// A list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    /// What its rows are called, so that the places of one list are none of another.
    pub(super) name: &'static str,
    /// Rows of a page when no number is given.
    pub(super) rows: usize,
    /// Rows of a page at most.
    pub(super) rows_max: usize,
}

impl Listed {
    /// How many rows are asked for, and whether from the end.
    pub(super) fn size(
        &self,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<(usize, bool), Error> {
        match (first, last) {
            (Some(_), Some(_)) => Err(bad_input("first and last are both given, a page has one")),
            (None, Some(last)) => Ok((at_most("last", last, self.rows_max)?, true)),
            (first, None) => {
                let first = first.map(|first| at_most("first", first, self.rows_max));
                Ok((first.transpose()?.unwrap_or(self.rows), false))
            }
        }
    }

    /// How many rows are asked for, and of which part of the list.
    pub(super) fn part(
        &self,
        (first, after): (Option<i32>, Option<String>),
        (last, before): (Option<i32>, Option<String>),
    ) -> Result<(usize, Part), Error> {
        let place = |text: Option<String>| text.as_deref().map(|text| self.read(text)).transpose();
        let (rows, from_end) = self.size(first, last)?;
        let part = Part {
            after: place(after)?,
            before: place(before)?,
            from_end,
        };
        Ok((rows, part))
    }

    /// A place as text.
    pub(super) fn write(&self, (at, id): &Place) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{at}:{id}", self.name))
    }

    /// Reads the text of a place.
    pub(super) fn read(&self, text: &str) -> Result<Place, Error> {
        let place = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let place = text.strip_prefix(self.name)?.strip_prefix(':')?;
            let (at, id) = place.split_once(':')?;
            let known = !id.contains('\0');
            known.then_some((at.parse().ok()?, id.to_owned()))
        };
        place().ok_or_else(|| bad_input("not a cursor of this list"))
    }

    /// Where a page stands among the others, by the places of its first and its last row.
    pub(super) fn info(&self, ends: Ends, first: Option<&Place>, last: Option<&Place>) -> PageInfo {
        let (has_next_page, has_previous_page) = if ends.from_end {
            (ends.other, ends.more)
        } else {
            (ends.more, ends.other)
        };
        PageInfo {
            has_next_page,
            has_previous_page,
            start_cursor: first.map(|place| self.write(place)),
            end_cursor: last.map(|place| self.write(place)),
        }
    }
}

/// How a page was read, and what is on both sides of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    /// Whether it was read from the end of the list.
    pub(super) from_end: bool,
    /// Whether there are more in the direction in which it was read.
    pub(super) more: bool,
    /// Whether there are more on the side from which it was read.
    pub(super) other: bool,
}

/// Cuts what was read, one row more than was asked for, to the page; whether there was more.
pub(super) fn cut<T>(found: &mut Vec<T>, rows: usize, from_end: bool) -> bool {
    let more = found.len() > rows;
    if from_end && more {
        found.remove(0);
    }
    found.truncate(rows);
    more
}

/// A number of things that are told one by one, if it is one: none of them is no answer.
pub(super) fn one_to(name: &str, things: i32, things_max: usize) -> Result<usize, Error> {
    let told = || format!("{name} is not between 1 and {things_max}");
    match usize::try_from(things) {
        Ok(things) if things > things_max => Err(too_much(told())),
        Ok(things) if things >= 1 => Ok(things),
        Ok(_) | Err(_) => Err(bad_input(told())),
    }
}

/// The rows of a page, if there may be so many: a page larger than any is a wrong value, as one of less than none is.
pub(super) fn at_most(name: &str, rows: impl Into<i64>, rows_max: usize) -> Result<usize, Error> {
    let within = usize::try_from(rows.into()).ok();
    let within = within.filter(|rows| *rows <= rows_max);
    within.ok_or_else(|| bad_input(format!("{name} is not between 0 and {rows_max}")))
}
