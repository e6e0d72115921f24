//! What the log holds of the fleet that the demo plays: when it began, how far it is told, and what
//! people had it do meanwhile.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::{
    configuration_history as configuration, job_outcomes as outcome, job_transitions as transition,
    site_registrations as registration,
};
use serde_json::Value as Json;
use uuid::Uuid;

use super::DemoError;
use crate::event::{Cell, Event, Instant, Position, Provenance};
use crate::fleet::{Fleet, FleetOptions};
use crate::kinds::{Envelope, Filter, Kind, Operand, Operator};
use crate::store::{Columns, Order, PageQuery, Place, Store, StoreError};

/// Events that are read at once.
const PAGE_EVENTS: usize = 1_000;

/// Kinds that the fleet alone tells of, so that their newest event says how far it is told.
const TOLD_BY_THE_FLEET: [Kind; 3] = [Kind::DeviceMetrics, Kind::ApiRequest, Kind::UserActivity];

/// Something that people had a device do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// They set a parameter.
    Configure { parameter: String, value: Json },
    /// They had a job done, and it completed.
    Job { job_type: String, job_id: String },
}

/// A command with the device and the instant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Commanded {
    pub(super) at: DateTime<Utc>,
    pub(super) device_id: String,
    pub(super) command: Command,
}

impl Commanded {
    /// What a change of configuration has a device do; `None` when it is of no device, or when the
    /// fleet made the change itself.
    pub(super) fn by_configuration(event: &Event) -> Option<Self> {
        let cell = |column: configuration::Column| event.fact.cell(column);
        let Cell::Json(value) = cell(configuration::Column::NewValue) else {
            return None;
        };
        // what a device of the fleet has applied when it was told is of the fleet's provenance
        let was_told = !cell(configuration::Column::CommandId).is_null();
        let by_people = event.fact.provenance == Provenance::Real || was_told;
        Some(Self {
            // when it was told: one that is recorded late took effect only then
            at: event.recorded_at.date_time(),
            device_id: cell(configuration::Column::DeviceKey).text()?.to_owned(),
            command: Command::Configure {
                parameter: cell(configuration::Column::ParameterName)
                    .text()?
                    .to_owned(),
                value: Json::clone(value),
            },
        })
        .filter(|_| by_people)
    }

    /// What a job that people made has a device do. `types` has those jobs with their types.
    fn by_outcome(event: &Event, types: &HashMap<String, String>) -> Option<Self> {
        let text = |column: outcome::Column| event.fact.cell(column).text();
        let completed = text(outcome::Column::Status) == Some("COMPLETED");
        let job_id = text(outcome::Column::JobId)?;
        let job_type = types.get(job_id).filter(|_| completed)?.clone();
        let took = event.fact.cell(outcome::Column::DurationMs).int();
        let began_at = event.fact.occurred_at.plus_ms(-took.unwrap_or(0));
        Some(Self {
            at: began_at.date_time(),
            device_id: text(outcome::Column::DeviceKey)?.to_owned(),
            command: Command::Job {
                job_type,
                job_id: job_id.to_owned(),
            },
        })
    }

    /// Has the fleet do it.
    pub(super) fn apply(self, fleet: &mut Fleet) {
        match self.command {
            Command::Configure { parameter, value } => {
                fleet.set_configuration(&self.device_id, &parameter, value);
            }
            Command::Job { job_type, job_id } => {
                fleet.apply_job(&self.device_id, &job_type, &job_id, self.at);
            }
        }
    }
}

/// What a log holds up to a position.
#[derive(Debug)]
pub(super) struct Past<'a> {
    pub(super) store: &'a Store,
    pub(super) upto: Position,
}

impl Past<'_> {
    /// When the fleet that these options make began; `None` when it has not yet. It is known by the
    /// first registration that it makes, whatever else is registered.
    pub(super) async fn began(
        &self,
        options: FleetOptions,
    ) -> Result<Option<DateTime<Utc>>, DemoError> {
        let mut registered = Vec::new();
        self.each(Kind::SiteRegistration, Provenance::Simulated, |event| {
            let site = event.fact.cell(registration::Column::SiteKey).text();
            let site = site.map(str::to_owned);
            registered.push((site, event.fact.event_id, event.fact.occurred_at));
        })
        .await?;
        let mut is_other = false;
        for (site, id, at) in registered {
            let (own_site, own_id) = first_registration(options, at.date_time());
            if site == own_site {
                if id == own_id {
                    return Ok(Some(at.date_time()));
                }
                is_other = true;
            }
        }
        if is_other {
            return Err(DemoError::OtherFleet);
        }
        Ok(None)
    }

    /// Until when the fleet is told; `None` when nothing is.
    pub(super) async fn told_until(&self) -> Result<Option<Instant>, StoreError> {
        let mut newest = None;
        for kind in TOLD_BY_THE_FLEET {
            let query = PageQuery {
                order: Order::NewestFirst,
                limit: 1,
                ..self.query(kind, Provenance::Simulated)
            };
            let page = self.store.page(&query, &Store::own_allowance()).await?;
            newest = newest.max(page.first().map(|event| event.fact.occurred_at));
        }
        Ok(newest)
    }

    /// What people had devices do, in order of time.
    pub(super) async fn commands(&self) -> Result<Vec<Commanded>, StoreError> {
        let mut commands = Vec::new();
        for provenance in [Provenance::Real, Provenance::Simulated] {
            self.each(Kind::ConfigurationChange, provenance, |event| {
                commands.extend(Commanded::by_configuration(event));
            })
            .await?;
        }
        let mut types = HashMap::new();
        self.each(Kind::JobTransition, Provenance::Real, |event| {
            let text = |column: transition::Column| event.fact.cell(column).text();
            if let (Some(id), Some(job_type)) = (
                text(transition::Column::JobId),
                text(transition::Column::JobType),
            ) {
                types.insert(id.to_owned(), job_type.to_owned());
            }
        })
        .await?;
        self.each(Kind::JobOutcome, Provenance::Simulated, |event| {
            commands.extend(Commanded::by_outcome(event, &types));
        })
        .await?;
        commands.sort_by_key(|commanded| commanded.at);
        Ok(commands)
    }

    /// Looks at each event of a kind, in the order in which they were recorded.
    async fn each(
        &self,
        kind: Kind,
        provenance: Provenance,
        mut look: impl FnMut(&Event) + Send,
    ) -> Result<(), StoreError> {
        let mut query = self.query(kind, provenance);
        loop {
            let page = self.store.page(&query, &Store::own_allowance()).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            query.after = Some(Place::of(last));
            page.iter().for_each(&mut look);
        }
    }

    fn query(&self, kind: Kind, provenance: Provenance) -> PageQuery {
        let of = Operator::In(vec![Cell::Int(provenance.code())]);
        PageQuery {
            filter: Filter::Is(Operand::Envelope(Envelope::Provenance), of),
            upto: Some(self.upto),
            limit: PAGE_EVENTS,
            ..PageQuery::all_of(kind, Columns::ALL)
        }
    }
}

/// Site and id of the first registration that a fleet makes.
fn first_registration(
    options: FleetOptions,
    start: DateTime<Utc>,
) -> (Option<String>, Option<Uuid>) {
    let registrations = Fleet::new(options, start).registrations();
    let body = registrations.first().and_then(|event| {
        let mut bodies = event.as_object()?.values();
        bodies.next()
    });
    let text = |field: &str| body.and_then(|body| body.get(field)?.as_str());
    let id = text("eventId").and_then(|id| id.parse().ok());
    (text("siteId").map(str::to_owned), id)
}
