//! What of a kind is summed up over time: its measures, and the labels by which they are told apart.

use super::{Spec, Type};

/// What a measure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A state at an instant, such as a load: it has a mean and percentiles.
    Gauge,
    /// A count since the midnight of its site, such as sales: it has an increase and a rate.
    Counter,
}

/// A number that is summed up.
#[derive(Debug)]
pub struct Measure {
    /// Its word in a query, such as `CPU_PERCENT`.
    pub word: &'static str,
    /// Name of the field on the wire.
    pub field: &'static str,
    /// What it is.
    pub form: Form,
    /// What it is counted in, such as `percent`; an amount of money is in the currency of its site.
    pub unit: &'static str,
}

/// A label: one of few values, or any text.
#[derive(Debug)]
pub struct Dimension {
    /// Its word in a query, such as `STATUS`.
    pub word: &'static str,
    /// Name of the field on the wire.
    pub field: &'static str,
    /// What of the field it is.
    pub label: Label,
    /// What it says.
    pub description: &'static str,
}

/// What of a field is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The text as it is.
    Text,
    /// The class of an HTTP status, such as `2xx`.
    StatusClass,
    /// The path of an address, without what follows it: a search or a place on the page.
    Path,
}

/// What of a kind is summed up.
#[derive(Debug)]
pub struct Measured {
    /// The word for its events themselves, such as `READINGS`.
    pub events: &'static str,
    /// Its measures, in the order in which they are kept: at most 64. More may come, at the end.
    pub measures: &'static [Measure],
    /// Its labels, in the order in which they are kept, one of any text at most. More may not come: a rebuild
    /// is due.
    pub dimensions: &'static [Dimension],
    /// Whether so many of its events come that sites have sums of their own.
    pub by_site: bool,
}

impl Measured {
    /// Of a kind that has events to count and nothing else.
    pub(super) const fn events(events: &'static str) -> Self {
        Self {
            events,
            measures: &[],
            dimensions: &[],
            by_site: false,
        }
    }

    /// With these labels.
    pub(super) const fn by(mut self, dimensions: &'static [Dimension]) -> Self {
        self.dimensions = dimensions;
        self
    }

    /// With these measures.
    pub(super) const fn of(mut self, measures: &'static [Measure]) -> Self {
        self.measures = measures;
        self
    }

    /// With sums of each site.
    pub(super) const fn with_sites(mut self) -> Self {
        self.by_site = true;
        self
    }
}

impl Measure {
    pub(super) const fn gauge(word: &'static str, field: &'static str, unit: &'static str) -> Self {
        Self {
            word,
            field,
            form: Form::Gauge,
            unit,
        }
    }

    pub(super) const fn counter(
        word: &'static str,
        field: &'static str,
        unit: &'static str,
    ) -> Self {
        Self {
            word,
            field,
            form: Form::Counter,
            unit,
        }
    }

    /// Whether it is an amount of money, which is never added to one in another currency.
    #[must_use]
    pub fn is_money(&self, spec: &Spec) -> bool {
        let index = spec.index_of(self.field);
        let field = index.and_then(|index| spec.fields.get(index));
        field.is_some_and(|field| matches!(field.ty, Type::Money))
    }
}

impl Dimension {
    pub(super) const fn text(
        word: &'static str,
        field: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            word,
            field,
            label: Label::Text,
            description,
        }
    }

    /// Whether it may be any text, so that there may be any number of them.
    #[must_use]
    pub fn is_open(&self, spec: &Spec) -> bool {
        let index = spec.index_of(self.field);
        let field = index.and_then(|index| spec.fields.get(index));
        let is_text = field.is_some_and(|field| matches!(field.ty, Type::Text { .. }));
        is_text && self.label != Label::StatusClass
    }

    pub(super) const fn labelled(mut self, label: Label) -> Self {
        self.label = label;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{Kind, Storage};

    #[test]
    fn words_are_each_of_one_measure_and_fields_are_there() {
        let mut words = HashSet::new();
        for spec in Kind::all().map(Kind::spec) {
            let Some(measured) = &spec.measured else {
                continue;
            };
            assert!(words.insert(measured.events));
            assert!(measured.measures.len() <= 64);
            for measure in measured.measures {
                assert!(words.insert(measure.word));
                let field = &spec.fields[spec.index_of(measure.field).unwrap()];
                assert_ne!(field.ty.storage(), Storage::Text, "{}", measure.word);
            }
            for dimension in measured.dimensions {
                assert!(spec.index_of(dimension.field).is_some());
            }
            // how many labels there are is bounded for one of them
            let open = measured.dimensions.iter().filter(|d| d.is_open(spec));
            assert!(open.count() <= 1, "{}", spec.wire);
        }
    }
}
