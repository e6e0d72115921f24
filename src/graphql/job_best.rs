//! Jobs that start when that disturbs least: the windows are found when the job is made, and stand in its plan.

use async_graphql::{Context, Error};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::command::{UserError, UserErrorCode};
use super::insights::{first_start, kept, sites_of, why_not};
use super::job_input::Asked;
use super::{access, api, of_failed};
use crate::held::Ask;
use crate::history::jobs;
use crate::jobs::{BEST_DEVICES_MAX, BEST_SITES_MAX, Plan, Start, best_windows, windows_given};
use crate::store::EntityType;

/// The field by which it is asked for.
const FIELD: &str = "start.inBestWindow";

/// Puts the windows of a job for some devices into its plan, if it is to start then. A job that was made before with its
/// id says the same as it did. Answers how many had been given when these were found.
///
/// # Errors
/// When the log cannot be read. What is refused is answered.
pub(super) fn plan_best<'a>(
    ctx: &'a Context<'_>,
    asked: &'a mut Asked,
    (targets, made): (&'a [String], Option<Uuid>),
) -> BoxFuture<'a, Result<Result<Option<i64>, UserError>, Error>> {
    Box::pin(async move {
        let Some(wanted) = &asked.best else {
            return Ok(Ok(None));
        };
        let given = windows_given(api(ctx).store()).await;
        let given = given.map_err(|error| of_failed(api(ctx), &error))?;
        let (api, refused) = (api(ctx), |code, message: String| {
            Ok(Err(UserError::new(FIELD, code, message)))
        });
        if let Some(job_id) = made {
            let made = jobs::job(api.store(), &job_id.to_string()).await;
            let made = made.map_err(|error| of_failed(api, &error))?;
            let plan = made.map(|job| Plan::of_text(job.plan.as_deref()));
            if let Some(plan) = plan.filter(|plan| !plan.best_windows.is_empty()) {
                (asked.plan.start, asked.plan.best_windows) = (plan.start, plan.best_windows);
                return Ok(Ok(Some(given)));
            }
        }
        let now = api.ingest.clock().now();
        if let Some((field, message)) = wanted.fault(now) {
            let field = format!("{FIELD}.{field}");
            return Ok(Err(UserError::new(&field, UserErrorCode::Invalid, message)));
        }
        let names = api.store().names();
        let keys = targets.iter();
        let keys = keys.filter_map(|id| names.key(EntityType::Device, id));
        let keys: Vec<i64> = keys.collect();
        if keys.len() > BEST_DEVICES_MAX || sites_of(ctx, &keys) > BEST_SITES_MAX {
            let message = format!(
                "a job starts in the best window on at most {BEST_DEVICES_MAX} devices at {BEST_SITES_MAX} sites: make \
                 several of it"
            );
            return refused(UserErrorCode::TooMany, message);
        }
        let ask = Ask {
            as_of: now,
            provenance: None,
        };
        let within = access::within(ctx).await?;
        let found = best_windows((&api.held, api.store()), &keys, wanted, (ask, &within)).await;
        let found = found.map_err(|error| of_failed(api, &error))?;
        let mut windows = Vec::with_capacity(found.len());
        for at_site in &found {
            let site = names.id(at_site.site_key).unwrap_or_default();
            let Some(window) = kept(at_site, &site) else {
                let why = why_not(at_site);
                let message = format!("the job would never start at {site}: {why}");
                return refused(UserErrorCode::NeverStarts, message);
            };
            windows.push(window);
        }
        windows.sort_by(|one, other| {
            (one.starts_at, &one.site_id).cmp(&(other.starts_at, &other.site_id))
        });
        let Some(first) = first_start(&windows) else {
            let message = "the job would never start: nothing is known of its devices".to_owned();
            return refused(UserErrorCode::NeverStarts, message);
        };
        asked.plan.start = Start::At(first);
        asked.plan.best_windows = windows;
        Ok(Ok(Some(given)))
    })
}
