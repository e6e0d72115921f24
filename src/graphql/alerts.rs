//! Alerts as objects, and their list.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::access::key_or_none;
use super::fleet::{Device, Site};
use super::listed::{Ends, Listed, cut};
use super::order::InOrder;
use super::pages::PageInfo;
use super::scalars::{DateTime, Long};
use super::words::{AlertConditions, AlertSeverities, AlertStates, Word};
use super::{Api, access, api, of_failed};
use crate::event::Instant;
use crate::history::alerts::{self, AlertRow, AlertsPage};
use crate::history::{Place, Within};
use crate::store::EntityType;

/// The list of alerts.
const LIST: Listed = Listed {
    name: "alert",
    rows: 50,
    rows_max: 1_000,
};

/// An alert.
#[derive(Clone, Debug)]
pub(super) struct Alert(pub(super) Arc<AlertRow>);

impl Alert {
    /// An alert that the caller may see, if there is such a one.
    pub(super) async fn of(ctx: &Context<'_>, alert_id: &str) -> Result<Option<Self>, Error> {
        let within = access::within(ctx).await?;
        Self::read(api(ctx), &within, alert_id).await
    }

    /// An alert of what is read, if there is such a one.
    pub(super) async fn read(
        api: &Api,
        within: &Within,
        alert_id: &str,
    ) -> Result<Option<Self>, Error> {
        if alert_id.contains('\0') {
            // no id has it, and PostgreSQL takes no such text
            return Ok(None);
        }
        let row = alerts::alert(api.store(), alert_id).await;
        let row = row.map_err(|error| of_failed(api, &error))?;
        let row = row.filter(|row| is_within(within, row));
        Ok(row.map(|row| Self(Arc::new(row))))
    }

    fn place(&self) -> Place {
        (self.0.opened_at, self.0.alert_id.clone())
    }
}

/// Whether an alert is of what is read; one that is of no site or device is of the whole fleet.
fn is_within(within: &Within, row: &AlertRow) -> bool {
    match within {
        Within::Whole => true,
        Within::Sites(keys) => row.site_key.is_some_and(|key| keys.contains(&key)),
        Within::Device { device_key, .. } => row.device_key == Some(*device_key),
    }
}

fn time(micros: Option<i64>) -> Option<DateTime> {
    micros.map(|micros| DateTime(Instant(micros)))
}

/// An alert: what a rule watches for has begun, or has been.
#[Object]
impl Alert {
    /// Its id.
    async fn alert_id(&self) -> ID {
        ID(self.0.alert_id.clone())
    }

    /// Id of the rule that raised it.
    async fn rule_id(&self) -> ID {
        ID(self.0.rule_id.clone())
    }

    /// What people called the rule then.
    async fn rule_name(&self) -> Option<&str> {
        self.0.rule_name.as_deref()
    }

    /// What the rule watches for.
    async fn condition(&self) -> Word<AlertConditions> {
        Word::known(&self.0.alert_condition)
    }

    /// What it is for: `device/…`, `site/…`, `job/…`, each with an id, or `fleet`.
    async fn cause(&self) -> &str {
        &self.0.cause
    }

    /// Its state.
    async fn state(&self) -> Word<AlertStates> {
        Word::known(&self.0.state)
    }

    /// How bad it is.
    async fn severity(&self) -> Word<AlertSeverities> {
        Word::known(&self.0.severity)
    }

    /// The device that it is for, if it is for one.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        match self.0.device_key {
            Some(key) => Device::load(ctx, key).await,
            None => Ok(None),
        }
    }

    /// The site that it is for, or at which that stands or stood.
    async fn site(&self, ctx: &Context<'_>) -> Result<Option<Site>, Error> {
        match self.0.site_key {
            Some(key) => Site::load(ctx, key).await,
            None => Ok(None),
        }
    }

    /// The job that it is for, if it is for one.
    async fn job_id(&self) -> Option<ID> {
        self.0.job_id.clone().map(ID)
    }

    /// When what it is for began: of a silent device its last report.
    async fn started_at(&self) -> DateTime {
        DateTime(Instant(self.0.started_at))
    }

    /// When that had lasted long enough.
    async fn opened_at(&self) -> DateTime {
        DateTime(Instant(self.0.opened_at))
    }

    /// When its state last changed.
    async fn changed_at(&self) -> DateTime {
        DateTime(Instant(self.0.changed_at))
    }

    /// When what it is for was over, or somebody closed it; null while it is not resolved.
    async fn ended_at(&self) -> Option<DateTime> {
        time(self.0.ended_at)
    }

    /// How long what it is for lasted in all, in milliseconds; null while it is not resolved.
    async fn duration_ms(&self) -> Option<Long> {
        let ended_at = self.0.ended_at?;
        Some(Long((ended_at - self.0.started_at) / 1_000))
    }

    /// When somebody took it up.
    async fn acknowledged_at(&self) -> Option<DateTime> {
        time(self.0.acknowledged_at)
    }

    /// Who took it up.
    async fn acknowledged_by(&self) -> Option<&str> {
        self.0.acknowledged_by.as_deref()
    }

    /// Until when nobody is told of it, or was to be.
    async fn silenced_until(&self) -> Option<DateTime> {
        time(self.0.silenced_until)
    }

    /// Who closed it; `alerts` when what it was for was over.
    async fn resolved_by(&self) -> Option<&str> {
        self.0.resolved_by.as_deref()
    }

    /// Why it moved last, for people.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// What was measured when it was opened, in the unit of what the rule watches.
    async fn value(&self) -> Option<f64> {
        self.0.value
    }

    /// Beyond what it was opened, in the same unit.
    async fn threshold(&self) -> Option<f64> {
        self.0.threshold
    }

    /// Position of its last step, for `expectedVersion`.
    async fn version(&self) -> Long {
        Long(self.0.position)
    }
}

/// Which alerts: all conditions given must hold.
#[derive(Debug, Default, InputObject)]
pub(super) struct AlertFilter {
    /// In one of these states.
    states: Option<Vec<Word<AlertStates>>>,
    /// Of one of these severities.
    severities: Option<Vec<Word<AlertSeverities>>>,
    /// Raised by this rule.
    rule_id: Option<ID>,
    /// For this site, or something at it.
    site_id: Option<ID>,
    /// For this device.
    device_id: Option<ID>,
}

impl AlertFilter {
    async fn read(self, ctx: &Context<'_>) -> Result<AlertsPage, Error> {
        let key = async |ty, id: Option<ID>| match id {
            None => Ok::<_, Error>(None),
            Some(id) => Ok(Some(key_or_none(ctx, ty, &id).await?)),
        };
        let (states, severities) = (self.states, self.severities);
        Ok(AlertsPage {
            states: states.map(|words| words.iter().map(Word::word).collect()),
            severities: severities.map(|words| words.iter().map(Word::word).collect()),
            rule_id: self.rule_id.map(|id| id.0.replace('\0', " ")),
            site_key: key(EntityType::Site, self.site_id).await?,
            device_key: key(EntityType::Device, self.device_id).await?,
            ..AlertsPage::default()
        })
    }
}

/// The queries of alerts.
#[derive(Debug)]
pub(super) struct Alerts;

#[Object]
impl Alerts {
    /// An alert by its id; null when there is none within reach.
    async fn alert(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] alert_id: ID,
    ) -> Result<Option<InOrder<Alert>>, Error> {
        let alert = Alert::of(ctx, &alert_id).await?;
        Ok(alert.map(InOrder))
    }

    /// Alerts, those first that were opened last.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn alerts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which alerts.")] filter: Option<AlertFilter>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 1000 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 1000 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<AlertConnection>>, Error> {
        let (rows, part) = LIST.part((first, after), (last, before))?;
        let page = AlertsPage {
            within: access::within(ctx).await?,
            part,
            ..filter.unwrap_or_default().read(ctx).await?
        };
        let mut connection = AlertConnection::read(ctx, page, rows).await?;
        if ctx.look_ahead().field("pageInfo").exists() {
            connection.ends.other = connection.is_more_on_the_other_side(ctx).await?;
        }
        Ok(Some(InOrder(connection)))
    }
}

/// An alert with its place.
#[derive(Debug, SimpleObject)]
struct AlertEdge {
    /// Place of the alert.
    cursor: String,
    /// The alert.
    node: InOrder<Alert>,
}

/// A page of alerts.
#[derive(Debug)]
struct AlertConnection {
    alerts: Vec<Alert>,
    page: AlertsPage,
    ends: Ends,
}

/// A page of alerts.
#[Object]
impl AlertConnection {
    /// The alerts with their places.
    async fn edges(&self) -> Vec<InOrder<AlertEdge>> {
        let edge = |alert: &Alert| AlertEdge {
            cursor: LIST.write(&alert.place()),
            node: InOrder(alert.clone()),
        };
        self.alerts.iter().map(edge).map(InOrder).collect()
    }

    /// The alerts.
    async fn nodes(&self) -> Vec<InOrder<Alert>> {
        self.alerts.iter().cloned().map(InOrder).collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        let places: Vec<_> = self.alerts.iter().map(Alert::place).collect();
        InOrder(LIST.info(self.ends, places.first(), places.last()))
    }

    /// How many alerts there are on all pages; counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<Long>, Error> {
        let api = api(ctx);
        let count = alerts::alerts_count(api.store(), &self.page).await;
        let count = count.map_err(|error| of_failed(api, &error))?;
        Ok(Some(Long(i64::try_from(count).unwrap_or(i64::MAX))))
    }
}

impl AlertConnection {
    async fn read(ctx: &Context<'_>, page: AlertsPage, rows: usize) -> Result<Self, Error> {
        let (api, loaders) = (api(ctx), super::loaders(ctx));
        let limit = u64::try_from(rows + 1).unwrap_or(u64::MAX);
        let found = alerts::alerts_page(api.store(), &page, (limit, loaders.allowance())).await;
        let mut found = found.map_err(|error| of_failed(api, &error))?;
        let ends = Ends {
            from_end: page.part.from_end,
            more: cut(&mut found, rows, page.part.from_end),
            other: false,
        };
        loaders.count(found.len())?;
        let alerts = found.into_iter().map(|row| Alert(Arc::new(row)));
        Ok(Self {
            alerts: alerts.collect(),
            page,
            ends,
        })
    }

    /// Whether there are alerts on the side from which the page was read.
    async fn is_more_on_the_other_side(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let place = |row: Option<&Alert>| row.map(Alert::place);
        let (first, last) = (self.alerts.first(), self.alerts.last());
        let Some(part) = self.page.part.beyond(place(first), place(last)) else {
            return Ok(false);
        };
        let beyond = AlertsPage {
            part,
            ..self.page.clone()
        };
        let (api, allowance) = (api(ctx), super::loaders(ctx).allowance());
        let found = alerts::alerts_page(api.store(), &beyond, (1, allowance)).await;
        let found = found.map_err(|error| of_failed(api, &error))?;
        Ok(!found.is_empty())
    }
}
