//! What the log says of the fleet, with its evidence: one part of the roots for each insight.
//!
//! All of them are told in one [`shape`]; what an insight says beside that is an object of its own.

mod anomalies;
mod anomaly;
mod as_of;
mod ask;
mod changes;
mod effects;
mod error_group;
mod error_group_commands;
mod error_group_parts;
mod error_group_streams;
mod error_groups;
mod error_groups_of;
mod health;
mod impact;
mod job_patterns;
mod job_windows;
mod measure;
mod model_report;
mod nested;
mod of;
mod quality;
mod ranked;
mod reads;
mod reliable;
mod risk;
mod rounds;
mod shape;
mod trends;
mod window_input;

use async_graphql::MergedObject;

use super::order::CanFail;

pub(super) use changes::InsightStreams;
pub(super) use error_group_commands::GroupCommands;
pub(super) use error_group_streams::GroupStreams;
pub(super) use job_windows::{JobBestWindow, first_start, kept, sites_of, why_not};
pub(super) use measure::DeviceMeasure;
pub(super) use nested::{OfDevice, OfSite, fields, resolve};
pub(super) use reads::InsightLoaders;
pub(super) use risk::FailureHorizon;
pub(super) use shape::Interface;
pub(super) use window_input::BestWindowInput;

/// The queries of insights.
#[derive(Debug, Default, MergedObject)]
pub(super) struct Queries(
    CanFail<health::HealthQueries>,
    CanFail<risk::RiskQueries>,
    CanFail<anomalies::AnomalyQueries>,
    CanFail<impact::ImpactQueries>,
    CanFail<reliable::ReliabilityQueries>,
    CanFail<quality::QualityQueries>,
    CanFail<trends::TrendQueries>,
    CanFail<model_report::ModelQueries>,
    CanFail<job_windows::JobWindows>,
    CanFail<job_patterns::JobPatternQueries>,
    CanFail<error_groups::ErrorGroups>,
);
