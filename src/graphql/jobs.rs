//! The list of jobs: pages, the newest first, and the filter.

use std::borrow::Cow;

use async_graphql::registry::Registry;
use async_graphql::{
    Context, Error, ID, InputType, InputValueError, InputValueResult, Object, SimpleObject, Value,
};

use super::access::{NONE, key_or_none};
use super::job::Job;
use super::listed::{Ends, Listed, cut};
use super::meta::{Entries, input, input_object};
use super::order::InOrder;
use super::pages::PageInfo;
use super::scalars::Long;
use super::{access, api, of_failed};
use crate::history::Within;
use crate::history::jobs::{self, JobsPage};
use crate::kinds::enums;
use crate::store::EntityType;

/// The list of jobs: the devices of all of a page are counted.
const LIST: Listed = Listed {
    name: "job",
    rows: 50,
    rows_max: 100,
};

/// The queries of jobs.
#[derive(Debug)]
pub(super) struct Jobs;

#[Object]
impl Jobs {
    /// A job by its id; null when there is none within reach.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] job_id: ID,
    ) -> Result<Option<InOrder<Job>>, Error> {
        let job = Job::of(ctx, &job_id).await?;
        Ok(job.map(InOrder))
    }

    /// Jobs, the newest first.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of every connection"
    )]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which jobs.")] filter: Option<JobFilter>,
        #[graphql(
            desc = "Rows at most, from the beginning; 50 when neither is given, 100 at most."
        )]
        first: Option<i32>,
        #[graphql(desc = "Begins after this place.")] after: Option<String>,
        #[graphql(desc = "Rows at most, from the end; 100 at most.")] last: Option<i32>,
        #[graphql(desc = "Ends before this place.")] before: Option<String>,
    ) -> Result<Option<InOrder<JobConnection>>, Error> {
        let (rows, part) = LIST.part((first, after), (last, before))?;
        let page = JobsPage {
            within: access::within(ctx).await?,
            part,
            ..filter.unwrap_or_default().read(ctx).await?
        };
        let api = api(ctx);
        let allowance = super::loaders(ctx).allowance();
        let limit = u64::try_from(rows + 1).unwrap_or(u64::MAX);
        let found = jobs::jobs_page(api.store(), &page, limit, allowance).await;
        let mut found = found.map_err(|error| of_failed(api, &error))?;
        let more = cut(&mut found, rows, page.part.from_end);
        let jobs = Job::all(api, found, &page.within).await?;
        super::loaders(ctx).count(jobs.len())?;
        let mut connection = JobConnection {
            jobs,
            ends: Ends {
                from_end: page.part.from_end,
                more,
                other: false,
            },
            page,
        };
        if ctx.look_ahead().field("pageInfo").exists() {
            connection.ends.other = connection.is_more_on_the_other_side(ctx).await?;
        }
        Ok(Some(InOrder(connection)))
    }
}

/// A job with its place.
#[derive(Debug, SimpleObject)]
struct JobEdge {
    /// Place of the job.
    cursor: String,
    /// The job.
    node: InOrder<Job>,
}

/// A page of jobs.
#[derive(Debug)]
struct JobConnection {
    jobs: Vec<Job>,
    page: JobsPage,
    ends: Ends,
}

/// A page of jobs.
#[Object]
impl JobConnection {
    /// The jobs with their places.
    async fn edges(&self) -> Vec<InOrder<JobEdge>> {
        let edge = |job: &Job| JobEdge {
            cursor: LIST.write(&job.place()),
            node: InOrder(job.clone()),
        };
        self.jobs.iter().map(edge).map(InOrder).collect()
    }

    /// The jobs.
    async fn nodes(&self) -> Vec<InOrder<Job>> {
        self.jobs.iter().cloned().map(InOrder).collect()
    }

    /// Where the page stands among the others.
    async fn page_info(&self) -> InOrder<PageInfo> {
        let places: Vec<_> = self.jobs.iter().map(Job::place).collect();
        InOrder(LIST.info(self.ends, places.first(), places.last()))
    }

    /// How many jobs there are on all pages; counted only when asked for.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<Long>, Error> {
        let api = api(ctx);
        let count = jobs::jobs_count(api.store(), &self.page).await;
        let count = count.map_err(|error| of_failed(api, &error))?;
        Ok(Some(Long(i64::try_from(count).unwrap_or(i64::MAX))))
    }
}

impl JobConnection {
    /// Whether there are jobs on the side from which the page was read.
    async fn is_more_on_the_other_side(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let place = |row: Option<&Job>| row.map(Job::place);
        let (first, last) = (self.jobs.first(), self.jobs.last());
        let Some(part) = self.page.part.beyond(place(first), place(last)) else {
            return Ok(false);
        };
        let beyond = JobsPage {
            part,
            ..self.page.clone()
        };
        let (api, allowance) = (api(ctx), super::loaders(ctx).allowance());
        let found = jobs::jobs_page(api.store(), &beyond, 1, allowance).await;
        let found = found.map_err(|error| of_failed(api, &error))?;
        Ok(!found.is_empty())
    }
}

/// Which jobs.
#[derive(Debug, Default)]
struct JobFilter {
    /// In one of these states.
    states: Option<Vec<String>>,
    job_type: Option<String>,
    parent_job_id: Option<String>,
    site_id: Option<String>,
    device_id: Option<String>,
}

impl InputType for JobFilter {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        "JobFilter".into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let name = "Of this type; of a CUSTOM one its name.";
        let parent =
            "That come from this job: the runs of one that recurs, the retries of one that failed.";
        let fields = vec![
            input("deviceId", "ID", "For this device."),
            input("jobType", "String", name),
            input("parentJobId", "ID", parent),
            input(
                "siteId",
                "ID",
                "For a device that is registered at this site now.",
            ),
            input("state", "JobStateFilter", "The state."),
        ];
        let description = "Which jobs: all conditions given must hold.";
        input_object(registry, "JobFilter", description, fields, Entries::Any);
        Self::qualified_type_name()
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        let Some(Value::Object(conditions)) = value else {
            return Err(InputValueError::expected_type(value.unwrap_or_default()));
        };
        let mut filter = Self::default();
        for (name, condition) in conditions {
            match (name.as_str(), condition) {
                ("state", Value::Object(operators)) => {
                    for (operator, operand) in operators {
                        let states = states(&operator, operand).map_err(InputValueError::custom)?;
                        filter.keep(&states);
                    }
                }
                (name, value) => *filter.is(name)? = Some(text(name, value)?),
            }
        }
        Ok(filter)
    }

    fn to_value(&self) -> Value {
        Value::Null
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        Some(self)
    }
}

impl JobFilter {
    /// The part of the list that is meant, as far as the filter says.
    async fn read(self, ctx: &Context<'_>) -> Result<JobsPage, Error> {
        let mut devices_within = Vec::new();
        if let Some(site) = &self.site_id {
            let site = key_or_none(ctx, EntityType::Site, site).await?;
            devices_within.push(Within::Sites(vec![site]));
        }
        if let Some(device) = &self.device_id {
            devices_within.push(Within::Device {
                device_key: key_or_none(ctx, EntityType::Device, device).await?,
                site_key: NONE,
            });
        }
        Ok(JobsPage {
            devices_within,
            states: self.states,
            job_type: self.job_type,
            parent_job_id: self.parent_job_id,
            ..JobsPage::default()
        })
    }

    /// The condition that something is a text.
    fn is(&mut self, name: &str) -> Result<&mut Option<String>, InputValueError<Self>> {
        Ok(match name {
            "jobType" => &mut self.job_type,
            "parentJobId" => &mut self.parent_job_id,
            "siteId" => &mut self.site_id,
            "deviceId" => &mut self.device_id,
            "state" => return Err(InputValueError::custom("state is no condition")),
            name => {
                let message = format!("there is no field {name}");
                return Err(InputValueError::custom(message));
            }
        })
    }

    /// Both what held before and this.
    fn keep(&mut self, states: &[String]) {
        let both = |before: &Vec<String>| {
            let kept = before.iter().filter(|state| states.contains(state));
            kept.cloned().collect()
        };
        let kept = self.states.as_ref().map_or_else(|| states.to_vec(), both);
        self.states = Some(kept);
    }
}

/// The text that a field is to be. No field has U+0000, which PostgreSQL takes in no text.
fn text(name: &str, value: Value) -> Result<String, InputValueError<JobFilter>> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) if name != "jobType" => number.to_string(),
        Value::Null
        | Value::Number(_)
        | Value::Boolean(_)
        | Value::Binary(_)
        | Value::Enum(_)
        | Value::List(_)
        | Value::Object(_) => {
            let message = format!("{name} is null or no text; leave it out to have all");
            return Err(InputValueError::custom(message));
        }
    };
    Ok(text.replace('\0', " "))
}

/// The states for which a condition holds. Every job has a state.
fn states(operator: &str, operand: Value) -> Result<Vec<String>, String> {
    let all = || enums::JOB_STATE.values.iter().map(|(word, _)| *word);
    let word = |value: Value| {
        let word = match value {
            Value::Enum(name) => name.to_string(),
            Value::String(word) => word,
            Value::Null
            | Value::Number(_)
            | Value::Boolean(_)
            | Value::Binary(_)
            | Value::List(_)
            | Value::Object(_) => String::new(),
        };
        let message = format!(
            "state.{operator} is not one of {}",
            all().collect::<Vec<_>>().join(", ")
        );
        all()
            .any(|known| known == word)
            .then_some(word)
            .ok_or(message)
    };
    match (operator, operand) {
        ("in", Value::List(words)) => words.into_iter().map(word).collect(),
        ("isNull", Value::Boolean(true)) => Ok(Vec::new()),
        ("isNull", Value::Boolean(false)) => Ok(all().map(str::to_owned).collect()),
        ("eq", value) => Ok(vec![word(value)?]),
        (operator, _) => Err(format!("state.{operator} is not of its type")),
    }
}
