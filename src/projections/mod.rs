//! State that is folded from the log.
//!
//! What commands decide on (the registry, configuration, schedules, jobs, alerts), and what events are told with (the
//! states of devices), is folded inside the append transaction ([`inline`]); everything else follows the log with a
//! checkpoint ([`following`]), a batch and its checkpoint in one transaction. Either can be emptied and folded again.

pub(crate) mod alerts;
pub(crate) mod checkpoint;
pub(crate) mod configuration;
mod counters;
pub(crate) mod groups;
pub(crate) mod insights;
mod intervals;
pub(crate) mod jobs;
pub(crate) mod keys;
mod late;
mod left;
mod rebuild;
pub(crate) mod registry;
pub(crate) mod rollups;
mod runner;
pub(crate) mod schedules;
mod secrets;
pub(crate) mod settings;
pub(crate) mod silences;
mod states;
mod status;
mod stays;
mod upsert;

use std::sync::Arc;

use crate::store::{Fold, Folds};

pub(crate) use rebuild::begin_anew;
pub use rebuild::{RebuildError, rebuild};
pub use runner::{Runner, RunnerMetrics};

/// What is folded inside each append, in this order.
#[must_use]
pub fn inline() -> Vec<Arc<dyn Fold>> {
    vec![
        Arc::new(registry::Registry),
        Arc::new(configuration::Configuration),
        Arc::new(settings::Settings),
        Arc::new(schedules::Schedules),
        Arc::new(jobs::Jobs),
        Arc::new(keys::Keys),
        Arc::new(alerts::Alerts),
        Arc::new(states::States),
    ]
}

/// All of them, as `verify` compares them with the log.
#[must_use]
pub fn all() -> Folds {
    Folds {
        inline: inline(),
        following: following(),
    }
}

/// What follows the log.
#[must_use]
pub fn following() -> Vec<Arc<dyn Fold>> {
    vec![
        Arc::new(status::Status),
        Arc::new(intervals::Intervals),
        Arc::new(silences::Silent),
        Arc::new(counters::Counters),
        Arc::new(rollups::Rollups::default()),
        Arc::new(groups::Groups::default()),
        Arc::new(insights::Insights::default()),
    ]
}
