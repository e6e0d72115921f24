//! What the failure risk rests on: the model in force, how it was trained, and how good it would have been.

use std::sync::Arc;

use async_graphql::{Context, Error, Object, SimpleObject};
use futures_util::future::BoxFuture;

use super::as_of::as_of;
use super::shape::InsightStatus;
use crate::event::{Instant, Provenance};
use crate::graphql::order::InOrder;
use crate::graphql::scalars::{DateTime, Long};
use crate::graphql::words::{Provenances, Shown};
use crate::graphql::{Api, api, of_failed};
use crate::held::{FleetRead, ModelRead};
use crate::insights::risk::backtest::Backtest;
use crate::insights::risk::model::{FAILURES_NEEDED, Horizon, Model};
use crate::insights::risk::told;
use crate::store::StoreError;

/// A tenth of the answers of a back-test, by the risk that they told.
#[derive(Debug, SimpleObject)]
struct RiskDecile {
    /// The mean of the risk that was told, from 0 to 1.
    mean_risk: f64,
    /// The part after which the device failed within the horizon, from 0 to 1.
    failed_share: f64,
    /// Answers.
    answers: Long,
}

/// How good a model would have been, on time that it had not seen.
#[derive(Debug, SimpleObject)]
struct ModelBacktest {
    /// How far ahead, in hours: 24 or 72.
    horizon_hours: i32,
    /// Answers that were compared with what came.
    answers: Long,
    /// Of them, those after which the device failed within the horizon.
    answers_before_failure: Long,
    /// The area under precision and recall, from 0 to 1 (average precision); null where no device failed.
    pr_auc: Option<f64>,
    /// The area under the receiver operating characteristic, from 0 to 1; 0.5 is a guess.
    roc_auc: Option<f64>,
    /// The mean squared error of the risk (Brier): the less, the better.
    brier: f64,
    /// What it would be if every answer were the part that failed.
    brier_of_rate: f64,
    /// The slope of a logistic regression of what came on the log-odds; 1 is calibrated, and less is too sure.
    calibration_slope: Option<f64>,
    /// The intercept of it; 0 is calibrated.
    calibration_intercept: Option<f64>,
    /// By tenths of the answers, from the least risk on.
    deciles: Vec<InOrder<RiskDecile>>,
    /// Of the failures that were warned of, how many hours before they came a risk of 0.5 or more was told that held
    /// until then; the median.
    lead_time_hours: Option<f64>,
    /// The part of the failures that were warned of so, from 0 to 1; null where no device failed.
    warned_share: Option<f64>,
    /// The same as a sentence for whoever looks after the fleet.
    sentence: String,
}

/// A model that was trained last, and the trial against the one that was in force.
#[derive(Debug, SimpleObject)]
struct ModelTrial {
    /// When it was trained.
    trained_at: DateTime,
    /// The midnight (UTC) until which it knows.
    known_to: DateTime,
    /// Whether it took the place of the one before it. One that says less well what came does not, nor one that says it no
    /// better than the rate of the fleet, which answers in its place.
    is_accepted: bool,
    /// The time that neither has seen begins after this; null where nothing could be compared.
    unseen_from: Option<DateTime>,
    /// The mean loss of the one in force on that time (minus log-likelihood): the less, the better.
    loss_in_force: Option<f64>,
    /// That of the one that was trained.
    loss: Option<f64>,
    /// The same as a sentence for whoever looks after the fleet.
    sentence: String,
}

/// What the failure risk of devices rests on. Each night the fleet is summed up and, if there is more to learn from, a
/// model is trained on its own history.
#[derive(Debug, SimpleObject)]
struct ModelReport {
    /// Of when it is: nothing that happened later was read.
    as_of: DateTime,
    /// Of which events.
    provenance: Shown<Provenances>,
    /// How far it can be relied on. Until a model is trained that tells better what comes than the rate of the fleet it
    /// is LEARNING, and the risk of a device is that rate.
    status: InsightStatus,
    /// What the risk rests on, as a sentence for whoever looks after the fleet.
    sentence: String,
    /// The midnight (UTC) as of which the fleet was summed up; null before the first.
    summed_up_at: Option<DateTime>,
    /// Devices of the fleet of which something was known then.
    devices: i32,
    /// Failures of the fleet that were known when the model was trained; 0 as well where it has not been summed up yet.
    failures: i32,
    /// Failures that are needed before a model is trained.
    failures_needed: i32,
    /// Whether it was trained, and tells better what comes than the rate of the fleet.
    is_trained: bool,
    /// When it was trained; null before the first.
    trained_at: Option<DateTime>,
    /// The midnight (UTC) until which it knows; null before the first.
    known_to: Option<DateTime>,
    /// Examples that it learned from: one of each device every six hours.
    examples: Long,
    /// Devices that they are of: of a large fleet, some of them.
    example_devices: i32,
    /// When the first of them was taken.
    examples_from: Option<DateTime>,
    /// After which midnight time was held out for the back-tests; null while there is too little.
    held_out_from: Option<DateTime>,
    /// How good it would have been, for each horizon. It is told of a model that was trained in the same way without
    /// the time that was held out. Empty while there is too little.
    backtests: Vec<InOrder<ModelBacktest>>,
    /// The model that was trained last, whether it is the one in force or not; null before the first.
    last_trial: Option<InOrder<ModelTrial>>,
}

impl ModelBacktest {
    fn of(read: &ModelRead, horizon: Horizon) -> Option<InOrder<Self>> {
        let backtest = read.report.backtest(horizon)?;
        let is_refused = read.model.refused.contains(&horizon);
        let Backtest {
            answers, positives, ..
        } = *backtest;
        let deciles = backtest.deciles.iter();
        let deciles = deciles.map(|(mean_risk, failed_share, answers)| {
            InOrder(RiskDecile {
                mean_risk: *mean_risk,
                failed_share: *failed_share,
                answers: long(*answers),
            })
        });
        Some(InOrder(Self {
            horizon_hours: i32::try_from(horizon.hours()).unwrap_or(i32::MAX),
            answers: long(answers),
            answers_before_failure: long(positives),
            pr_auc: backtest.pr_auc,
            roc_auc: backtest.roc_auc,
            brier: backtest.brier,
            brier_of_rate: backtest.brier_of_rate,
            calibration_slope: backtest.slope,
            calibration_intercept: backtest.intercept,
            deciles: deciles.collect(),
            lead_time_hours: backtest.lead_hours,
            warned_share: backtest.caught,
            sentence: told::tested(&read.report, backtest, read.day, is_refused),
        }))
    }
}

impl ModelTrial {
    fn of(read: &ModelRead) -> InOrder<Self> {
        let trial = read.report.trial;
        let is_refused = !read.model.refused.is_empty() && !read.model.is_fitted();
        let against_rate = told::tried_against_rate(&read.model);
        let alone = "There was no other model to try it against, or no time that neither had seen.";
        let tried = trial.map_or_else(|| alone.to_owned(), |trial| told::tried(&trial));
        InOrder(Self {
            trained_at: DateTime(read.trained_at),
            known_to: DateTime(read.day),
            is_accepted: read.is_accepted && !is_refused,
            unseen_from: trial.map(|trial| DateTime(trial.from)),
            loss_in_force: trial.map(|trial| trial.old_loss),
            loss: trial.map(|trial| trial.new_loss),
            sentence: against_rate.map_or_else(|| tried.clone(), |said| format!("{said} {tried}")),
        })
    }
}

/// All that is known of the model of a fleet.
struct Known {
    fleet: Arc<FleetRead>,
    in_force: Option<Arc<ModelRead>>,
    newest: Option<Arc<ModelRead>>,
}

impl ModelReport {
    fn of(known: &Known, (provenance, as_of): (Provenance, Instant)) -> Self {
        let Known {
            fleet,
            in_force,
            newest,
        } = known;
        let model: &Model = &fleet.model;
        let report = in_force.as_deref().map(|read| &read.report);
        let tested = |read: &Arc<ModelRead>| {
            let each = Horizon::ALL.iter();
            each.filter_map(|horizon| ModelBacktest::of(read, *horizon))
                .collect()
        };
        Self {
            as_of: DateTime(as_of),
            provenance: Shown::new(provenance.word()),
            status: told::status(model, fleet.summed_at, as_of).into(),
            sentence: told::basis(model, &fleet.risk),
            summed_up_at: fleet.summed_at.map(DateTime),
            devices: int(fleet.risk.devices),
            failures: int(usize::try_from(model.failures).unwrap_or(usize::MAX)),
            failures_needed: i32::try_from(FAILURES_NEEDED).unwrap_or(i32::MAX),
            is_trained: model.is_fitted(),
            trained_at: in_force.as_deref().map(|read| DateTime(read.trained_at)),
            known_to: in_force.as_deref().map(|read| DateTime(read.day)),
            examples: long(report.map_or(0, |report| report.learned.examples)),
            example_devices: int(report.map_or(0, |report| report.devices)),
            examples_from: report.and_then(|report| report.from).map(DateTime),
            held_out_from: report.and_then(|report| report.held_from).map(DateTime),
            backtests: in_force.as_ref().map(tested).unwrap_or_default(),
            last_trial: newest.as_deref().map(ModelTrial::of),
        }
    }
}

fn long(number: usize) -> Long {
    Long(i64::try_from(number).unwrap_or(i64::MAX))
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What is known of the model of a provenance; of the first of which anything is, where none is asked for.
fn known(
    api: &Api,
    asked: Option<Provenance>,
    as_of: Instant,
) -> BoxFuture<'_, Result<(Known, Provenance), StoreError>> {
    Box::pin(async move {
        let order = asked.map_or_else(|| api.preferred.order().to_vec(), |one| vec![one]);
        let mut first = None;
        for provenance in order {
            let fleet = api.held.fleet(provenance, as_of).await?;
            let is_known = fleet.risk.devices > 0;
            let found = (fleet, provenance);
            if is_known {
                first = Some(found);
                break;
            }
            first.get_or_insert(found);
        }
        let (fleet, provenance) = match first {
            Some(found) => found,
            None => (
                api.held.fleet(Provenance::Real, as_of).await?,
                Provenance::Real,
            ),
        };
        let [in_force, newest] = api.held.trained(provenance, as_of).await?;
        let known = Known {
            fleet,
            in_force,
            newest,
        };
        Ok((known, provenance))
    })
}

/// The queries of models.
#[derive(Debug, Default)]
pub(super) struct ModelQueries;

#[Object]
impl ModelQueries {
    /// What the failure risk rests on: the model in force, what it learned from, and how good it would have been on time
    /// that was held out.
    async fn model_report(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As of when: nothing that happened later is read; now when left out.")]
        as_of: Option<DateTime>,
        #[graphql(
            desc = "Of which events; left out, REAL if there is a fleet of them, else CONTROLLED, else SIMULATED; on \
            a demo SIMULATED first."
        )]
        provenance: Option<Shown<Provenances>>,
    ) -> Result<Option<InOrder<ModelReport>>, Error> {
        let at = self::as_of(ctx, as_of).await?;
        let asked = provenance.and_then(|word| Provenance::of_word(&word.word()));
        let known = known(api(ctx), asked, at).await;
        let (known, provenance) = known.map_err(|error| of_failed(api(ctx), &error))?;
        Ok(Some(InOrder(ModelReport::of(&known, (provenance, at)))))
    }
}
