//! Writes the buckets of series in one pass: what is selected of them is read once into a plan, and each bucket is
//! written by it, without a future for each field.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContextSelectionSet, Error, Lookahead, Name, OutputType, Positioned, SelectionField,
    ServerResult, Value,
};
use bytes::Bytes;

use super::Api;
use super::error::bad_input;
use super::meta::{self, input};
use super::order::or_null;
use super::rows::selected;
use super::series::of_ask;
use super::written::{plain, quoted};
use crate::analytics::series::{Aggregate, Bucket, Part};
use crate::analytics::subject::Subject;
use crate::analytics::told::Parts;
use crate::event::Instant;

const NAME: &str = "SeriesBucket";
/// Bytes of a bucket of which a few numbers are told.
const BUCKET_BYTES: usize = 128;

/// What was measured from an instant until just before another.
#[derive(Debug)]
pub(super) struct SeriesBucket {
    pub(super) bucket: Bucket,
    pub(super) earlier: Option<Bucket>,
}

/// Buckets in order of time.
#[derive(Debug)]
pub(super) struct Buckets(pub(super) Vec<SeriesBucket>);

/// What a field of a bucket tells.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Start,
    End,
    Events,
    IsFilled,
    Of(Aggregate),
    /// With an argument.
    Percentile,
    Expected,
    Coverage,
    Earlier,
}

impl Told {
    const fn part(self) -> Option<Part> {
        match self {
            Self::End => Some(Part::End),
            Self::Events => Some(Part::Events),
            Self::IsFilled => Some(Part::IsFilled),
            Self::Of(aggregate) => Some(Part::Of(aggregate)),
            Self::Percentile => Some(Part::Percentiles),
            Self::Expected => Some(Part::Expected),
            Self::Coverage => Some(Part::Coverage),
            // a bucket is known by it; and what is selected of that is looked for with the rest
            Self::Start | Self::Earlier => None,
        }
    }
}

/// The fields: name, type, what it tells, and what that is.
const FIELDS: [(&str, &str, Told, &str); 18] = [
    ("start", "DateTime!", Told::Start, "When it begins."),
    ("end", "DateTime!", Told::End, "The first instant after it."),
    (
        "events",
        "Long!",
        Told::Events,
        "How many events there were, whether they told of the measure or not; 0 in one that is filled.",
    ),
    (
        "isFilled",
        "Boolean!",
        Told::IsFilled,
        "Whether what stands here was filled in, since nothing was said.",
    ),
    (
        "count",
        "Float",
        Told::Of(Aggregate::Count),
        "How many values there were.",
    ),
    (
        "sum",
        "Float",
        Told::Of(Aggregate::Sum),
        "The sum of the values, of a gauge or of events; an amount of money is in the currency of the group.",
    ),
    (
        "avg",
        "Float",
        Told::Of(Aggregate::Avg),
        "Their mean; of a gauge.",
    ),
    (
        "min",
        "Float",
        Told::Of(Aggregate::Min),
        "The least of them.",
    ),
    (
        "max",
        "Float",
        Told::Of(Aggregate::Max),
        "The greatest of them.",
    ),
    (
        "first",
        "Float",
        Told::Of(Aggregate::First),
        "The first of them by time; of those at one instant the least.",
    ),
    (
        "last",
        "Float",
        Told::Of(Aggregate::Last),
        "The last of them by time; of those at one instant the greatest.",
    ),
    (
        "stddev",
        "Float",
        Told::Of(Aggregate::Stddev),
        "Their standard deviation, as of all that there are; of a gauge.",
    ),
    (
        "increase",
        "Float",
        Told::Of(Aggregate::Increase),
        "By how much the counters grew: from each value to the next, from 0 where one began anew; or how many \
         events there were.",
    ),
    (
        "rate",
        "Float",
        Told::Of(Aggregate::Rate),
        "The increase in a second of the time that is past; null where none of it is.",
    ),
    (
        "percentile",
        "Float",
        Told::Percentile,
        "The value below which a part of all lies, within 1 % of it; of a gauge.",
    ),
    (
        "expected",
        "Float",
        Told::Expected,
        "How many values were expected: one of each device in each of its intervals, while it was in service there \
         and as far as it is past. The interval is the one that the device told last, however long ago, or else that of \
         the source. Null of a source that comes when something happens, and where labels tell its events apart.",
    ),
    (
        "coverage",
        "Float",
        Told::Coverage,
        "How much of what was expected has come: 1 is all of it, and more where devices report more often than they \
         say. A reading that comes in parts has come once: where any are parts, `READINGS` are as many as came whole, \
         or as told of the measure of which most did, if those are more. No fewer have come; by `DEVICE` that is exact \
         where one measure, or the part 0, is in all readings of a device. Null where nothing was expected.",
    ),
    (
        "earlier",
        NAME,
        Told::Earlier,
        "What of the earlier time stands beside this bucket: null where nothing does, as beside 31 March a month before, \
         and beside an hour that the clock shows a second time.",
    ),
];

/// What is written under a key.
#[derive(Clone, Debug)]
enum Step {
    TypeName,
    Tell(Told),
    Percentile(f64),
    Earlier(Plan),
    /// What could not be understood, and is told beside the data.
    Null,
}

/// What is selected of a bucket.
#[derive(Clone, Debug, Default)]
struct Plan {
    steps: Vec<(Name, Step)>,
}

impl Plan {
    fn new(ctx: &ContextSelectionSet<'_>) -> Self {
        let mut plan = Self::default();
        for field in selected(ctx, &ctx.item.node, &|ty| ty == NAME) {
            let step = match field.node.name.node.as_str() {
                "__typename" => Step::TypeName,
                name => {
                    let told = FIELDS.iter().find(|(known, ..)| *known == name);
                    let Some((_, _, told, _)) = told else {
                        continue;
                    };
                    step(ctx, field, *told)
                }
            };
            plan.add(field.node.response_key().node.clone(), step);
        }
        plan
    }

    /// Adds a step; what stands under one key already is the same, or is merged.
    fn add(&mut self, key: Name, step: Step) {
        match self.steps.iter_mut().find(|(held, _)| *held == key) {
            Some((_, Step::Earlier(held))) => {
                if let Step::Earlier(more) = step {
                    more.steps
                        .into_iter()
                        .for_each(|(key, step)| held.add(key, step));
                }
            }
            Some(_) => {}
            None => self.steps.push((key, step)),
        }
    }

    fn write(&self, text: &mut Vec<u8>, (bucket, earlier): (&Bucket, Option<&Bucket>)) {
        text.push(b'{');
        for (at, (key, step)) in self.steps.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            plain(text, key);
            text.push(b':');
            match step {
                Step::TypeName => quoted(text, NAME),
                Step::Tell(told) => tell(text, *told, bucket),
                Step::Percentile(of) => plain(text, &bucket.value(Aggregate::Percentile(*of))),
                Step::Earlier(plan) => match earlier {
                    Some(earlier) => plan.write(text, (earlier, None)),
                    None => plain(text, &()),
                },
                Step::Null => plain(text, &()),
            }
        }
        text.push(b'}');
    }
}

fn step(ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>, told: Told) -> Step {
    let ctx = ctx.with_field(field);
    match told {
        Told::Percentile => {
            let of = percentile(&ctx).map_err(|error| error.into_server_error(field.pos));
            match of {
                Ok(of) => Step::Percentile(of),
                Err(error) => {
                    or_null(&ctx, Err(error));
                    Step::Null
                }
            }
        }
        Told::Earlier => {
            let set = ctx.with_selection_set(&field.node.selection_set);
            Step::Earlier(Plan::new(&set))
        }
        Told::Start | Told::End | Told::Events | Told::IsFilled => Step::Tell(told),
        Told::Of(_) | Told::Expected | Told::Coverage => Step::Tell(told),
    }
}

/// Which percentile is asked for.
fn percentile(ctx: &async_graphql::Context<'_>) -> Result<f64, Error> {
    part_of(&ctx.field())
}

fn part_of(field: &SelectionField<'_>) -> Result<f64, Error> {
    let arguments = field
        .arguments()
        .map_err(|error| bad_input(error.message))?;
    let mut given = arguments.into_iter().filter(|(name, _)| name == "of");
    let of = match given.next() {
        Some((_, Value::Number(of))) => of.as_f64(),
        _ => None,
    };
    of.filter(|of| (0.0..=100.0).contains(of))
        .ok_or_else(|| bad_input(PERCENTILES))
}

/// Which percentiles there are.
pub(super) const PERCENTILES: &str = "a percentile is from 0 to 100";

/// Whether a field is selected of buckets, or of those of the earlier time.
pub(super) fn is_selected(buckets: &[Lookahead<'_>], name: &str) -> bool {
    buckets
        .iter()
        .any(|bucket| bucket.field(name).exists() || bucket.field("earlier").field(name).exists())
}

/// What is selected of the buckets of a series and of their totals, so that whoever follows it is told of what
/// changes of that. Whoever selects neither is told when something else was said.
pub(super) fn parts([buckets, total]: &[Lookahead<'_>; 2]) -> Parts {
    let of = |bucket: &Lookahead<'_>| {
        let selected = FIELDS.iter();
        let selected =
            selected.filter(|(name, ..)| is_selected(std::slice::from_ref(bucket), name));
        let parts = selected.filter_map(|(_, _, told, _)| told.part());
        bucket.exists().then(|| parts.collect::<Vec<_>>())
    };
    let parts = Parts {
        buckets: of(buckets),
        whole: of(total),
    };
    if parts.buckets.is_some() || parts.whole.is_some() {
        return parts;
    }
    let said = FIELDS.iter().filter_map(|(_, _, told, _)| told.part());
    let said = said.filter(|part| !changes_with_the_clock(*part));
    Parts {
        buckets: Some(said.collect()),
        whole: None,
    }
}

/// Whether a part of a range that goes on to each moment becomes another though nothing is said.
fn changes_with_the_clock(part: Part) -> bool {
    matches!(
        part,
        Part::End | Part::Expected | Part::Coverage | Part::Of(Aggregate::Rate)
    )
}

/// Refuses what is selected of buckets if it says nothing of any measure: of a measure beside others it is null.
pub(super) fn make_sense(
    api: &Api,
    subject: &Subject,
    buckets: &[Lookahead<'_>],
) -> Result<(), Error> {
    for (name, _, told, _) in FIELDS {
        let aggregate = match told {
            Told::Of(aggregate) => aggregate,
            // a measure has all of them or none
            Told::Percentile => Aggregate::Percentile(50.0),
            Told::Start | Told::End | Told::Events | Told::IsFilled => continue,
            Told::Expected | Told::Coverage | Told::Earlier => continue,
        };
        if is_selected(buckets, name) {
            let sense = subject.any_makes_sense(aggregate);
            sense.map_err(|failed| of_ask(api, &failed))?;
        }
    }
    Ok(())
}

/// Refuses percentiles that there are none of: whoever follows a series is told so once.
pub(super) fn are_percentiles(bucket: &Lookahead<'_>) -> Result<(), Error> {
    for field in bucket.field("percentile").selection_fields() {
        part_of(&field)?;
    }
    let earlier = bucket.field("earlier");
    if earlier.exists() {
        are_percentiles(&earlier)
    } else {
        Ok(())
    }
}

fn tell(text: &mut Vec<u8>, told: Told, bucket: &Bucket) {
    match told {
        Told::Start => quoted(text, Instant(bucket.start)),
        Told::End => quoted(text, Instant(bucket.end)),
        Told::Events => quoted(text, bucket.events()),
        Told::IsFilled => plain(text, &!bucket.is_said()),
        Told::Of(aggregate) => plain(text, &bucket.value(aggregate)),
        Told::Expected => plain(text, &bucket.expected),
        Told::Coverage => plain(text, &bucket.coverage()),
        Told::Percentile | Told::Earlier => plain(text, &()),
    }
}

fn register(registry: &mut Registry) {
    let field = |(name, ty, told, description): &(&str, &str, Told, &str)| {
        let arguments = if *told == Told::Percentile {
            let description = "How large a part, from 0 to 100: 50 is the median.";
            vec![input("of", "Float!", description)]
        } else {
            Vec::new()
        };
        meta::field_with(name, ty, description, arguments)
    };
    let description = "What was measured from an instant until just before another. What says nothing of the measure is \
        null; if it says nothing of any measure that is asked for, it is refused.";
    meta::object(
        registry,
        NAME,
        description,
        FIELDS.iter().map(field).collect(),
    );
}

impl OutputType for SeriesBucket {
    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        register(registry);
        Self::qualified_type_name()
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let mut text = Vec::with_capacity(BUCKET_BYTES);
        Plan::new(ctx).write(&mut text, (&self.bucket, self.earlier.as_ref()));
        Ok(Value::Binary(text.into()))
    }
}

impl OutputType for Buckets {
    fn type_name() -> Cow<'static, str> {
        format!("[{NAME}!]").into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        register(registry);
        Self::qualified_type_name()
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let plan = Plan::new(ctx);
        let mut text = Vec::with_capacity(self.0.len() * BUCKET_BYTES);
        let mut buckets = Vec::with_capacity(self.0.len());
        for bucket in &self.0 {
            let begin = text.len();
            plan.write(&mut text, (&bucket.bucket, bucket.earlier.as_ref()));
            buckets.push(begin..text.len());
        }
        let taken = super::take(ctx, text.len());
        taken.map_err(|error| ctx.set_error_path(error.into_server_error(ctx.item.pos)))?;
        let text = Bytes::from(text);
        let bucket = |bucket| Value::Binary(text.slice(bucket));
        Ok(Value::List(buckets.into_iter().map(bucket).collect()))
    }
}
