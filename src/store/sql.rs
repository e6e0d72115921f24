//! Builds the text of a statement together with its values.
//!
//! The log speaks to its tables in SQL of its own: one text for both databases, since the tables of
//! all kinds are read and written by the same few statements, and since their form decides whether
//! an index is used. In it a value stands as `?`, which therefore means nothing else.

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Statement, Value};

use super::lists::{self, List};
use crate::event::Cell;
use crate::kinds::{Envelope, Filter, Operand, Operator, Spec, Storage};

/// Where a value stands in a text.
const PLACE: &str = "?";

/// The sizes in which lists of rows or keys come in texts, so that few prepared statements serve all:
/// four to each power of two, and so at most a fifth of a list is filled up.
pub(crate) fn on_grid(size: usize) -> usize {
    let step = (size.next_power_of_two() / 8).max(1);
    size.next_multiple_of(step)
}

/// The sizes of groups of rows that are written in statements of their own, each at most so large:
/// powers of two, where a list may not be filled up.
pub(crate) fn group_sizes(mut rows: usize, max: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let size = (1 << rows.checked_ilog2()?).min(max);
        rows -= size;
        Some(size)
    })
}

/// A statement in the making.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
    /// Whether one of the values is a list.
    lists: bool,
}

impl Sql {
    /// Begins with a text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
            lists: false,
        }
    }

    /// Adds a text, which must never come from outside.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.push(PLACE)
    }

    /// Has the text that stands last be compared by its bytes on both databases.
    pub(crate) fn bytewise(&mut self) -> &mut Self {
        self.push(BYTEWISE)
    }

    /// Adds values in parentheses, separated by commas.
    pub(crate) fn bind_list(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        self.push("(");
        for (ordinal, value) in values.into_iter().enumerate() {
            if ordinal > 0 {
                self.push(", ");
            }
            self.bind(value);
        }
        self.push(")")
    }

    /// Adds the condition that an expression is one of some values. The list is one value, so that
    /// lists of all lengths have one text.
    pub(crate) fn among(&mut self, column: &str, list: List) -> &mut Self {
        self.push(column)
            .push(lists::AMONG)
            .bind_array(list)
            .push(lists::END)
    }

    /// Adds a table `k` of one column, `value`, which has a row for each of some keys.
    pub(crate) fn each(&mut self, keys: &[i64]) -> &mut Self {
        let keys = List::Int(keys.to_vec());
        self.push(lists::EACH).bind_array(keys).push(lists::AS_K)
    }

    /// Adds a table `v` of rows of numbers, with the columns `column1`, `column2` …
    pub(crate) fn rows_of<const N: usize>(
        &mut self,
        backend: DbBackend,
        rows: &[[i64; N]],
    ) -> &mut Self {
        let rows: Vec<([i64; N], [&str; 0])> = rows.iter().map(|row| (*row, [])).collect();
        self.keys_of(backend, &rows)
    }

    /// The same of rows whose last columns are texts.
    pub(crate) fn keys_of<const N: usize, const M: usize>(
        &mut self,
        backend: DbBackend,
        rows: &[([i64; N], [&str; M])],
    ) -> &mut Self {
        if backend != DbBackend::Postgres {
            self.push("(VALUES ");
            for (ordinal, (numbers, texts)) in rows.iter().enumerate() {
                let numbers = numbers.iter().map(|number| Value::from(*number));
                let texts = texts.iter().map(|text| Value::from(*text));
                self.push(if ordinal > 0 { ", " } else { "" })
                    .bind_list(numbers.chain(texts));
            }
            return self.push(") v");
        }
        let numbers = |index: usize| {
            let numbers = rows.iter().filter_map(|(numbers, _)| numbers.get(index));
            let numbers = numbers.map(|number| Value::from(*number)).collect();
            Value::Array(ArrayType::BigInt, Some(Box::new(numbers)))
        };
        let texts = |index: usize| {
            let texts = rows.iter().filter_map(|(_, texts)| texts.get(index));
            let texts = texts.map(|text| Value::from(*text)).collect();
            Value::Array(ArrayType::String, Some(Box::new(texts)))
        };
        let names: Vec<String> = (1..=N + M).map(|index| format!("column{index}")).collect();
        self.push("UNNEST")
            .bind_list((0..N).map(numbers).chain((0..M).map(texts)));
        self.push(" AS v(").push(&names.join(", ")).push(")")
    }

    fn bind_array(&mut self, list: List) -> &mut Self {
        self.lists = true;
        self.bind(list.array())
    }

    /// Adds a statement in the making.
    pub(crate) fn add(&mut self, other: Self) -> &mut Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
        self.lists |= other.lists;
        self
    }

    /// Adds another statement, to be run after this one.
    pub(crate) fn join(&mut self, next: Self) {
        self.push("; ").add(next);
    }

    /// How many values it has.
    pub(crate) fn values(&self) -> usize {
        self.values.len()
    }

    /// The statement. SQLite takes the places of values as they are: with numbers it finds each by
    /// a search through all before it, and a statement of 10,000 values takes seconds.
    pub(crate) fn statement(self, backend: DbBackend) -> Statement {
        let (mut text, mut values) = (self.text, self.values);
        if self.lists {
            text = lists::written(&text, backend);
        }
        if backend == DbBackend::Postgres {
            text = numbered(&text.replace(BYTEWISE, " COLLATE \"C\""));
        } else if self.lists {
            values = values.into_iter().map(lists::as_json).collect();
        }
        Statement::from_sql_and_values(backend, text, values)
    }

    /// Adds a filter as a condition. `negated` is pushed down to the single conditions, so that one
    /// on an absent value is false before it is negated.
    pub(crate) fn filter(&mut self, spec: &Spec, filter: &Filter, polarity: Polarity) {
        match (filter, polarity) {
            (Filter::Not(inner), _) => self.filter(spec, inner, polarity.other()),
            (Filter::And(filters), Polarity::Plain) | (Filter::Or(filters), Polarity::Negated) => {
                self.joined(spec, filters, polarity, (" AND ", "TRUE"));
            }
            (Filter::Or(filters), Polarity::Plain) | (Filter::And(filters), Polarity::Negated) => {
                self.joined(spec, filters, polarity, (" OR ", "FALSE"));
            }
            (Filter::Is(operand, operator), Polarity::Plain) => {
                self.condition(spec, *operand, operator);
            }
            (Filter::Is(operand, operator), Polarity::Negated) => {
                self.push("NOT coalesce(");
                self.condition(spec, *operand, operator);
                self.push(", FALSE)");
            }
        }
    }

    fn joined(&mut self, spec: &Spec, all: &[Filter], polarity: Polarity, by: (&str, &str)) {
        let (separator, empty) = by;
        if all.is_empty() {
            self.push(empty);
            return;
        }
        self.push("(");
        for (ordinal, filter) in all.iter().enumerate() {
            if ordinal > 0 {
                self.push(separator);
            }
            self.filter(spec, filter, polarity);
        }
        self.push(")");
    }

    fn condition(&mut self, spec: &Spec, operand: Operand, operator: &Operator) {
        match (operand, column_of(spec, operand), device_of(spec)) {
            (Operand::Site, site, Some(device)) => {
                self.condition_on_site(site.as_deref(), &device, operator);
            }
            (_, Some(column), _) => self.condition_on(&column, operator),
            (_, None, _) => {
                // what the kind does not have is absent
                let absent = matches!(operator, Operator::IsNull);
                self.push(if absent { "TRUE" } else { "FALSE" });
            }
        }
    }

    /// `column` may be any expression. Texts are compared by their bytes, whatever the locale of the
    /// database, and letters have a case only in ASCII: as the same filter has it in memory.
    fn condition_on(&mut self, column: &str, operator: &Operator) {
        match operator {
            Operator::In(cells) if cells.is_empty() => self.push("FALSE"),
            Operator::In(cells) if cells.len() == 1 => {
                self.push(column).push(" = ");
                cells
                    .iter()
                    .fold(self, |sql, cell| sql.bind(value_of(cell)))
            }
            Operator::In(cells) => self.among(column, List::of(cells)),
            Operator::Less(bound) => self.compared(column, " < ", bound),
            Operator::AtMost(bound) => self.compared(column, " <= ", bound),
            Operator::Greater(bound) => self.compared(column, " > ", bound),
            Operator::AtLeast(bound) => self.compared(column, " >= ", bound),
            Operator::StartsWith(start) => {
                let characters = i32::try_from(start.chars().count()).unwrap_or(i32::MAX);
                self.push("substr(")
                    .push(column)
                    .push(", 1, ")
                    .bind(characters);
                self.push(") = ").bind(start.to_string())
            }
            Operator::Contains(part) => {
                let lower = format!("lower({column}{BYTEWISE})");
                // an empty part is in every text
                self.push("(replace(").push(&lower).push(", ");
                self.bind(part.to_ascii_lowercase()).push(", '') <> ");
                self.push(&lower).push(" OR ").bind(part.to_string());
                self.push(" = '' AND ").push(column).push(" IS NOT NULL)")
            }
            Operator::IsNull => self.push(column).push(" IS NULL"),
        };
    }

    fn compared(&mut self, column: &str, sign: &str, bound: &Cell) -> &mut Self {
        self.push(column);
        if matches!(bound, Cell::Text(_)) {
            self.push(BYTEWISE);
        }
        self.push(sign).bind(value_of(bound))
    }

    /// An event that names no site but a device is at the site at which the device was registered when it
    /// happened.
    fn condition_on_site(&mut self, site: Option<&str>, device: &str, operator: &Operator) {
        let Operator::In(cells) = operator else {
            let site = site.map_or_else(String::new, |site| format!("{site}, "));
            let registered = format!(
                "SELECT d.site_key FROM device_stays d WHERE {}",
                stay_of(device)
            );
            // with one value more, since one alone is not coalesced
            let column = format!("coalesce({site}({registered}), NULL)");
            return self.condition_on(&column, operator);
        };
        if cells.is_empty() {
            self.push("FALSE");
            return;
        }
        self.at_sites(site, device, &|| List::of(cells));
    }

    /// Adds the condition that an event names one of some sites, or none and a device that was at one of
    /// them when it happened.
    pub(super) fn at_sites(&mut self, site: Option<&str>, device: &str, sites: &dyn Fn() -> List) {
        self.push("(");
        if let Some(site) = site {
            self.among(site, sites());
            self.push(" OR ").push(site).push(" IS NULL AND ");
        }
        self.push("EXISTS (SELECT 1 FROM device_stays d WHERE ")
            .push(&stay_of(device))
            .push(" AND ");
        self.among("d.site_key", sites()).push("))");
    }
}

/// Where a text is to be compared by its bytes: on PostgreSQL its collation is given there, on SQLite
/// it is compared so anyway.
const BYTEWISE: &str = "/*bytewise*/";

/// The text with numbers for the places of values, as PostgreSQL has them.
fn numbered(text: &str) -> String {
    let mut parts = text.split(PLACE);
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        numbered.push('$');
        numbered.push_str(&(index + 1).to_string());
        numbered.push_str(part);
    }
    numbered
}

/// Whether a condition is asked as it is or negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polarity {
    Plain,
    Negated,
}

impl Polarity {
    const fn other(self) -> Self {
        match self {
            Self::Plain => Self::Negated,
            Self::Negated => Self::Plain,
        }
    }
}

/// The column of what a condition looks at, in the table as `t`.
fn column_of(spec: &Spec, operand: Operand) -> Option<String> {
    let envelope = |column: &str| Some(format!("t.{column}"));
    match operand {
        Operand::Envelope(Envelope::OccurredAt) => envelope("occurred_at"),
        Operand::Envelope(Envelope::RecordedAt) => envelope("recorded_at"),
        Operand::Envelope(Envelope::Provenance) => envelope("provenance"),
        Operand::Envelope(Envelope::Position) => envelope("position"),
        Operand::Field(index) => column_at(spec, Some(index)),
        Operand::Device => device_of(spec),
        Operand::Site => site_of(spec),
    }
}

fn column_at(spec: &Spec, index: Option<usize>) -> Option<String> {
    let field = index.and_then(|index| spec.fields.get(index))?;
    Some(format!("t.{}", field.column.name()))
}

/// The column that names a device, in the table as `t`.
pub(super) fn device_of(spec: &Spec) -> Option<String> {
    column_at(spec, spec.device_index())
}

/// The column that names a site, in the table as `t`.
pub(super) fn site_of(spec: &Spec) -> Option<String> {
    column_at(spec, spec.site_index())
}

/// The condition that `d` is the stay of a device during which an event `t` happened.
pub(super) fn stay_of(device: &str) -> String {
    format!("d.device_key = {device} AND {DURING_STAY}")
}

/// The condition that an event `t` happened during a stay `d`.
pub(super) const DURING_STAY: &str = "t.occurred_at >= d.from_at AND t.occurred_at < d.until_at";

/// A cell as a value of its column. A reference is its key.
pub(crate) fn value_of(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::BigInt(None),
        Cell::Int(number) => Value::BigInt(Some(*number)),
        Cell::Float(number) => Value::Double(Some(*number)),
        Cell::Text(text) => Value::String(Some(text.to_string())),
        Cell::Json(json) => Value::String(Some(json.to_string())),
        Cell::Reference(reference) => Value::BigInt(Some(reference.key)),
    }
}

/// A cell as a value of a column that may be absent.
pub(crate) fn value_in(storage: Storage, cell: &Cell) -> Value {
    match (storage, cell) {
        (Storage::Int, Cell::Null) => Value::BigInt(None),
        (Storage::Float, Cell::Null) => Value::Double(None),
        (Storage::Text, Cell::Null) => Value::String(None),
        (_, cell) => value_of(cell),
    }
}

/// A cell as a value of a column of text.
pub(crate) fn value_in_text(cell: &Cell) -> Value {
    value_in(Storage::Text, cell)
}
