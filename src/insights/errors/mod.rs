//! Error groups: what errors repeat, since when, how often against before, and after which change.
//!
//! A message is masked ([`mask`]), messages of one form make a group ([`drain`]), a group has an id that stays
//! ([`fingerprint`]) and is counted ([`group`]); from its counts come trend and bursts ([`trend`]) and the changes that may
//! have brought it ([`cause`]). [`state`] folds facts, [`whole`] joins what operators say is one, [`kept`] packs it, [`read`] answers. No clock, no randomness, no I/O.

pub mod cause;
pub mod drain;
pub mod fingerprint;
mod form;
pub mod group;
pub mod kept;
pub mod mask;
pub mod part;
pub mod read;
mod sentence;
mod stack;
pub mod state;
pub mod trend;
pub mod whole;
