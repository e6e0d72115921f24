//! Keys of pages under devices and sites, by which those that are asked for alike are read together.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::kinds::Operand;
use crate::store::PageQuery;

/// Which page is asked for of each of many parents.
#[derive(Clone, Debug)]
pub(super) struct PageShape {
    query: Arc<PageQuery>,
    text: Arc<str>,
}

impl PageShape {
    pub(super) fn new(query: PageQuery) -> Self {
        Self {
            text: Arc::from(format!("{query:?}")),
            query: Arc::new(query),
        }
    }

    pub(super) fn query(&self) -> &PageQuery {
        &self.query
    }
}

impl PartialEq for PageShape {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl Eq for PageShape {}

/// A page under a device or site. Pages of one field under many parents are asked for alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageKey {
    pub(super) operand: Operand,
    pub(super) parent: i64,
    pub(super) shape: PageShape,
}

impl PageKey {
    pub(super) fn new(operand: Operand, parent: i64, shape: &PageShape) -> Self {
        Self {
            operand,
            parent,
            shape: shape.clone(),
        }
    }
}

impl Hash for PageKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parent.hash(state);
    }
}

/// The number of rows of all pages under a device or site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CountKey(pub(super) PageKey);

/// Keys that ask for the same page, with the parents for which they ask.
pub(super) fn grouped<'k>(keys: impl Iterator<Item = &'k PageKey>) -> Vec<(&'k PageKey, Vec<i64>)> {
    let mut groups: Vec<(&PageKey, Vec<i64>)> = Vec::new();
    for key in keys {
        let is_alike =
            |(of, _): &&mut (&PageKey, _)| of.operand == key.operand && of.shape == key.shape;
        match groups.iter_mut().find(is_alike) {
            Some((_, parents)) => parents.push(key.parent),
            None => groups.push((key, vec![key.parent])),
        }
    }
    groups
}
