//! What is unusual of a measure of a device, as an object.

use async_graphql::{Context, Enum, Error, Object};

use super::ask::source;
use super::measure::DeviceMeasure;
use super::shape::Reading;
use crate::graphql::fleet::Device;
use crate::graphql::scalars::DateTime;
use crate::held::{DeviceRead, FleetRead};
use crate::insights::anomaly::{self, Standing};
use crate::insights::input::Measure;

/// Whether something unusual goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "AnomalyState")]
pub(in crate::graphql) enum AnomalyState {
    /// An incident is open: something unusual goes on.
    Open,
    /// An incident is over: nothing unusual was seen for 12 hours. The last four of a measure of a device are kept.
    Closed,
    /// There is no incident: it is how unusual the measure is at present.
    Quiet,
}

/// What is told of a measure: an incident, or how unusual it is at present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::graphql) struct Seen {
    pub(in crate::graphql) measure: Measure,
    pub(in crate::graphql) incident: Option<Standing>,
}

impl Seen {
    /// Whether something unusual goes on.
    pub(in crate::graphql) const fn state(&self) -> AnomalyState {
        match &self.incident {
            Some(incident) if incident.is_open => AnomalyState::Open,
            Some(_) => AnomalyState::Closed,
            None => AnomalyState::Quiet,
        }
    }
}

/// What is unusual of a measure of a device.
#[derive(Clone, Debug)]
pub(in crate::graphql) struct Anomaly {
    key: i64,
    seen: Seen,
}

/// What is unusual of a measure of a device, against its own past: an incident, or how unusual it is at present.
///
/// Of what goes on, `value` is how much of news the last value is, from 0 to 1 on a logarithmic scale: 0.25 is seen in
/// one hour of 10, 0.5 in one of 100, 0.75 in one of 1,000, and it falls while what goes on is no news any more. The
/// interval is the usual range of the measure at this time, in its unit. Of an incident that is over, `value` is the
/// highest score in it.
#[Object]
impl Anomaly {
    /// The device.
    async fn device(&self, ctx: &Context<'_>) -> Result<Option<Device>, Error> {
        Device::load(ctx, self.key).await
    }

    /// The measure.
    async fn measure(&self) -> DeviceMeasure {
        self.seen.measure.into()
    }

    /// Whether something unusual goes on.
    async fn state(&self) -> AnomalyState {
        self.seen.state()
    }

    /// When the incident began; null without one. Of an hour that is over the beginning of it.
    async fn opened_at(&self) -> Option<DateTime> {
        self.seen.incident.map(|one| DateTime(one.since))
    }

    /// The last time so far that something unusual was seen in the incident; null without one.
    async fn last_seen_at(&self) -> Option<DateTime> {
        self.seen.incident.map(|one| DateTime(one.last))
    }

    /// The highest score in the incident, from 0 to 1; null without one.
    async fn peak(&self) -> Option<f64> {
        self.seen.incident.map(|one| one.worst)
    }
}

/// The measures of a device of which something is told, if only some are asked for those among them.
pub(in crate::graphql) fn measures<'a>(
    read: &'a DeviceRead,
    asked: Option<&'a [DeviceMeasure]>,
) -> impl Iterator<Item = Measure> + 'a {
    let known = read.state.anomalies.keys().copied();
    known.filter(move |measure| asked.is_none_or(|asked| asked.contains(&(*measure).into())))
}

/// What is told of the measures of a device: its incidents, and each measure of which none is open.
pub(in crate::graphql) fn seen(
    read: &DeviceRead,
    fleet: &FleetRead,
    asked: Option<&[DeviceMeasure]>,
) -> Vec<Seen> {
    let mut all = Vec::new();
    for measure in measures(read, asked) {
        let Some(state) = read.state.anomalies.get(&measure) else {
            continue;
        };
        let subject = read.subject(fleet, measure);
        let found = anomaly::incidents(state, &subject, read.samples_of(measure), read.as_of);
        let is_open = found.iter().any(|one| one.is_open);
        let quiet = (!is_open).then_some(None);
        let incidents = found.into_iter().map(Some).chain(quiet);
        all.extend(incidents.map(|incident| Seen { measure, incident }));
    }
    all
}

/// What was seen as an insight.
pub(in crate::graphql) fn reading(
    read: &DeviceRead,
    fleet: &FleetRead,
    seen: Seen,
) -> Option<Reading<Anomaly>> {
    let state = read.state.anomalies.get(&seen.measure)?;
    let subject = read.subject(fleet, seen.measure);
    let insight = match seen.incident.filter(|incident| !incident.is_open) {
        Some(over) => anomaly::past(state, &subject, &over, read.as_of),
        None => anomaly::read(state, &subject, read.samples_of(seen.measure), read.as_of),
    };
    let own = Anomaly {
        key: read.key,
        seen,
    };
    let provenance = source(&insight, read.provenance);
    Some(Reading::new(insight, provenance, own))
}
