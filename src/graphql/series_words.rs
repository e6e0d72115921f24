//! The words of series: measures and dimensions, as the kinds have them, and how buckets are cut and filled.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContextSelectionSet, Enum, InputType, InputValueError, InputValueResult, Name, OutputType,
    Positioned, ServerResult, Value,
};

use super::meta::enumeration;
use crate::analytics::buckets::Unit;
use crate::analytics::earlier::Earlier;
use crate::analytics::question::By;
use crate::analytics::ranking::First;
use crate::analytics::series::{Aggregate, Fill as Filled};
use crate::kinds::{Form, Kind};
use crate::rollups::labels::TOLD_MAX;

/// A measure of a kind, or its events themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) kind: Kind,
    /// Its place among those of the kind; none for the events.
    pub(super) index: Option<usize>,
}

impl Measure {
    fn all() -> impl Iterator<Item = Self> {
        Kind::all().flat_map(|kind| {
            let measured = kind.spec().measured.as_ref();
            let measures = measured.map_or(0, |measured| measured.measures.len());
            let events = measured.map(|_| Self { kind, index: None });
            let index = (0..measures).map(Some);
            events
                .into_iter()
                .chain(index.map(move |index| Self { kind, index }))
        })
    }

    /// Its word.
    pub(super) fn word(self) -> &'static str {
        let Some(measured) = &self.kind.spec().measured else {
            return "";
        };
        let measure = self.index.and_then(|index| measured.measures.get(index));
        measure.map_or(measured.events, |measure| measure.word)
    }

    /// What it is counted in.
    pub(super) fn unit(self) -> &'static str {
        let measured = self.kind.spec().measured.as_ref();
        let measure = self.index.and_then(|index| measured?.measures.get(index));
        measure.map_or("events", |measure| measure.unit)
    }

    fn description(self) -> String {
        let spec = self.kind.spec();
        let measured = spec.measured.as_ref();
        let measure = self.index.and_then(|index| measured?.measures.get(index));
        let Some(measure) = measure else {
            return format!("Events of `{}`: how many there are.", spec.list);
        };
        let field = spec.index_of(measure.field);
        let field = field.and_then(|index| spec.fields.get(index));
        let said = field.map_or("", |field| field.description);
        match measure.form {
            Form::Gauge => format!("{said} Of `{}`; a gauge.", spec.list),
            Form::Counter => format!("{said} Of `{}`: it has an increase and a rate.", spec.list),
        }
    }
}

/// What answers are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dimension(pub(super) &'static str);

/// Those that all kinds have, and what each is.
const COMMON: [(&str, &str, By); 3] = [
    ("DEVICE", "The device.", By::Device),
    ("SITE", "The site at which it happened.", By::Site),
    (
        "DEVICE_TYPE",
        "The type of the device, as it is registered now.",
        By::DeviceType,
    ),
];

/// What is said of labels of which there may be any number.
const BOUND: &str = " Of one device, or of all that names none, 1,000 combinations of it with the other labels of the \
    source are told apart within a quarter of an hour, an hour and a day. Where there are more, chance says which, \
    however often they come; all others are told together, as `isOther`, which tells how much is untold.";
const _: () = assert!(TOLD_MAX == 1_000, "as the schema says");

impl Dimension {
    /// The site at which something happened.
    pub(super) const SITE: Self = Self("SITE");

    fn all() -> impl Iterator<Item = (&'static str, String)> {
        let common = COMMON
            .iter()
            .map(|(word, said, _)| (*word, (*said).to_owned()));
        let own = Kind::all().map(Kind::spec).flat_map(|spec| {
            let dimensions = spec
                .measured
                .iter()
                .flat_map(|measured| measured.dimensions);
            dimensions.map(|dimension| {
                let bound = if dimension.is_open(spec) { BOUND } else { "" };
                let said = format!("{} Of `{}`.{bound}", dimension.description, spec.list);
                (dimension.word, said)
            })
        });
        common.chain(own)
    }

    /// The words of those that a kind has.
    pub(super) fn words_of(kind: Kind) -> Vec<&'static str> {
        let common = COMMON.iter().map(|(word, _, _)| *word);
        common.chain(Self::labels_of(kind)).collect()
    }

    /// The words of the labels of a kind, in their order.
    pub(super) fn labels_of(kind: Kind) -> impl Iterator<Item = &'static str> {
        let measured = kind.spec().measured.iter();
        let labels = measured.flat_map(|measured| measured.dimensions);
        labels.map(|label| label.word)
    }

    /// What it is of a kind, if that has it.
    pub(super) fn of(self, kind: Kind) -> Option<By> {
        let common = COMMON.iter().find(|(word, _, _)| *word == self.0);
        if let Some((_, _, by)) = common {
            return Some(*by);
        }
        self.label_of(kind).map(By::Label)
    }

    /// Its place among the labels of a kind.
    pub(super) fn label_of(self, kind: Kind) -> Option<usize> {
        Self::labels_of(kind).position(|word| word == self.0)
    }
}

/// A word that the kinds give.
trait Given: Sized + Copy + Send + Sync + 'static {
    const NAME: &'static str;
    const DESCRIPTION: &'static str;
    fn words() -> Vec<(&'static str, String)>;
    fn of(word: &str) -> Option<Self>;
    fn shown(self) -> &'static str;
}

impl Given for Measure {
    const NAME: &'static str = "Measure";
    const DESCRIPTION: &'static str = "A number that is summed up over time.";

    fn words() -> Vec<(&'static str, String)> {
        Self::all()
            .map(|measure| (measure.word(), measure.description()))
            .collect()
    }

    fn of(word: &str) -> Option<Self> {
        Self::all().find(|measure| measure.word() == word)
    }

    fn shown(self) -> &'static str {
        self.word()
    }
}

impl Given for Dimension {
    const NAME: &'static str = "Dimension";
    const DESCRIPTION: &'static str = "What a series is told apart by.";

    fn words() -> Vec<(&'static str, String)> {
        Self::all().collect()
    }

    fn of(word: &str) -> Option<Self> {
        Self::all()
            .find(|(known, _)| *known == word)
            .map(|(known, _)| Self(known))
    }

    fn shown(self) -> &'static str {
        self.0
    }
}

fn made<G: Given>(registry: &mut Registry) -> String {
    let words = G::words();
    let words: Vec<(&str, &str)> = words.iter().map(|(word, said)| (*word, &**said)).collect();
    enumeration(registry, G::NAME, G::DESCRIPTION, &words);
    format!("{}!", G::NAME)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of a library, whose other values are one case"
)]
fn parsed<G: Given + InputType>(value: Option<Value>) -> InputValueResult<G> {
    let given = match value.unwrap_or_default() {
        Value::Enum(name) => name.to_string(),
        Value::String(name) => name,
        value => return Err(InputValueError::expected_type(value)),
    };
    let unknown = || InputValueError::custom(format!("{given} is no {}", G::NAME));
    G::of(&given).ok_or_else(unknown)
}

macro_rules! given {
    ($($name:ident),*) => {$(
        impl InputType for $name {
            type RawValueType = Self;

            fn type_name() -> Cow<'static, str> {
                <Self as Given>::NAME.into()
            }

            fn create_type_info(registry: &mut Registry) -> String {
                made::<Self>(registry)
            }

            fn parse(value: Option<Value>) -> InputValueResult<Self> {
                parsed(value)
            }

            fn to_value(&self) -> Value {
                Value::Enum(Name::new(self.shown()))
            }

            fn as_raw_value(&self) -> Option<&Self::RawValueType> {
                Some(self)
            }
        }

        impl OutputType for $name {
            fn type_name() -> Cow<'static, str> {
                <Self as Given>::NAME.into()
            }

            fn create_type_info(registry: &mut Registry) -> String {
                made::<Self>(registry)
            }

            async fn resolve(
                &self,
                _ctx: &ContextSelectionSet<'_>,
                _field: &Positioned<Field>,
            ) -> ServerResult<Value> {
                Ok(InputType::to_value(self))
            }
        }
    )*};
}

given!(Measure, Dimension);

/// How long a bucket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[graphql(name = "Resolution")]
pub(super) enum ResolutionWord {
    /// As long as makes no more buckets than points are asked for.
    #[default]
    Auto,
    /// A minute, or several: of sites as a whole and without counters read from what is summed up of the last 7
    /// days, else made of single events.
    Minute,
    /// An hour, or several; on a day on which the clock is changed there are 23 or 25.
    Hour,
    /// A day of the business, or several.
    Day,
    /// A week, or several.
    Week,
    /// A calendar month, or several.
    Month,
    /// A quarter of a year, or several.
    Quarter,
    /// A calendar year, or several.
    Year,
}

impl ResolutionWord {
    pub(super) const fn unit(self) -> Option<Unit> {
        Some(match self {
            Self::Auto => return None,
            Self::Minute => Unit::Minute,
            Self::Hour => Unit::Hour,
            Self::Day => Unit::Day,
            Self::Week => Unit::Week,
            Self::Month => Unit::Month,
            Self::Quarter => Unit::Quarter,
            Self::Year => Unit::Year,
        })
    }

    pub(super) const fn of(unit: Unit) -> Self {
        match unit {
            Unit::Minute => Self::Minute,
            Unit::Hour => Self::Hour,
            Unit::Day => Self::Day,
            Unit::Week => Self::Week,
            Unit::Month => Self::Month,
            Unit::Quarter => Self::Quarter,
            Unit::Year => Self::Year,
        }
    }
}

/// What stands in buckets in which nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[graphql(name = "Fill")]
pub(super) enum FillWord {
    /// There are no such buckets.
    None,
    /// Nulls.
    #[default]
    Null,
    /// Zeros.
    Zero,
    /// What stood in the bucket before; nulls before the first.
    Previous,
    /// What lies on the line between the buckets before and after; nulls before the first and after the last.
    Linear,
}

impl From<FillWord> for Filled {
    fn from(word: FillWord) -> Self {
        match word {
            FillWord::None => Self::None,
            FillWord::Null => Self::Null,
            FillWord::Zero => Self::Zero,
            FillWord::Previous => Self::Previous,
            FillWord::Linear => Self::Linear,
        }
    }
}

/// With what time a range is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "CompareWith")]
pub(super) enum CompareWord {
    /// As many buckets just before, and of one that `from` or `to` cuts as much. A `breakdown`, which has no buckets,
    /// is compared with as many months or days just before, if it is of whole ones from midnight to midnight in its
    /// time zone, so that a whole month or week is compared as by a `series` of it, else with as long a time.
    #[graphql(name = "PREVIOUS_PERIOD")]
    Period,
    /// The same time a week before, on the clock: beside each bucket stands what the clock shows alike then, and
    /// nothing where it jumped over that.
    #[graphql(name = "PREVIOUS_WEEK")]
    Week,
    /// The same time a month before, on the clock. What begins or ends on a day that the month before does not have
    /// begins or ends there with the first of the next month: of all of March all of February stands beside it, and
    /// beside 31 March nothing does.
    #[graphql(name = "PREVIOUS_MONTH")]
    Month,
    /// The same time a year before, on the clock; in buckets of weeks 52 weeks before. Beside 29 February nothing
    /// stands.
    #[graphql(name = "PREVIOUS_YEAR")]
    Year,
}

impl From<CompareWord> for Earlier {
    fn from(word: CompareWord) -> Self {
        match word {
            CompareWord::Period => Self::Period,
            CompareWord::Week => Self::Week,
            CompareWord::Month => Self::Month,
            CompareWord::Year => Self::Year,
        }
    }
}

/// Which come first in a ranking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[graphql(name = "RankOrder")]
pub(super) enum RankOrderWord {
    /// Those that come to most.
    #[default]
    HighestFirst,
    /// Those that come to least.
    LowestFirst,
}

impl From<RankOrderWord> for First {
    fn from(word: RankOrderWord) -> Self {
        match word {
            RankOrderWord::HighestFirst => Self::Highest,
            RankOrderWord::LowestFirst => Self::Lowest,
        }
    }
}

/// What is told of the values of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "Aggregate")]
pub(super) enum AggregateWord {
    /// How many there are.
    Count,
    /// Their sum; of a gauge, or of events.
    Sum,
    /// Their mean; of a gauge.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The first by time.
    First,
    /// The last by time.
    Last,
    /// Their standard deviation; of a gauge.
    Stddev,
    /// By how much a counter grew.
    Increase,
    /// By how much a counter grew in a second.
    Rate,
}

impl From<AggregateWord> for Aggregate {
    fn from(word: AggregateWord) -> Self {
        match word {
            AggregateWord::Count => Self::Count,
            AggregateWord::Sum => Self::Sum,
            AggregateWord::Avg => Self::Avg,
            AggregateWord::Min => Self::Min,
            AggregateWord::Max => Self::Max,
            AggregateWord::First => Self::First,
            AggregateWord::Last => Self::Last,
            AggregateWord::Stddev => Self::Stddev,
            AggregateWord::Increase => Self::Increase,
            AggregateWord::Rate => Self::Rate,
        }
    }
}

impl AggregateWord {
    /// The word of an aggregate; a percentile has none.
    pub(super) const fn of(aggregate: Aggregate) -> Option<Self> {
        Some(match aggregate {
            Aggregate::Count => Self::Count,
            Aggregate::Sum => Self::Sum,
            Aggregate::Avg => Self::Avg,
            Aggregate::Min => Self::Min,
            Aggregate::Max => Self::Max,
            Aggregate::First => Self::First,
            Aggregate::Last => Self::Last,
            Aggregate::Stddev => Self::Stddev,
            Aggregate::Increase => Self::Increase,
            Aggregate::Rate => Self::Rate,
            Aggregate::Percentile(_) => return None,
        })
    }
}
