//! What the log says of the fleet, with its evidence: one part of the roots for each insight.
//!
//! All of them are told in one [`shape`]; what an insight says beside that is an object of its own.

mod as_of;
mod job_patterns;
mod job_windows;
mod shape;
mod window_input;

use async_graphql::MergedObject;

use super::order::CanFail;

pub(super) use job_windows::{JobBestWindow, first_start, kept, sites_of, why_not};
pub(super) use shape::Interface;
pub(super) use window_input::BestWindowInput;

/// The queries of insights.
#[derive(Debug, Default, MergedObject)]
pub(super) struct Queries(
    CanFail<job_windows::JobWindows>,
    CanFail<job_patterns::JobPatternQueries>,
);
