//! How large a document is. What is too large is refused before anything else walks it.
//!
//! A fragment may be spread many times, and in fragments that are spread many times: a few hundred
//! bytes come to millions of fields. So each fragment is measured once, and what it comes to is
//! multiplied; no document takes longer than its text is long.

use std::collections::HashMap;

use async_graphql::parser::types::{Directive, ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::{Error, Name, Positioned};

use super::error::{ErrorCode, error};

/// Levels at most of what is selected.
const DEPTH_MAX: usize = 15;
/// Fields at most, each counted as often as it is selected.
const FIELDS_MAX: usize = 2_000;
/// Selections at most in each other, with fragments and what is asked about the schema.
const LEVELS_MAX: usize = 100;
/// Levels at most of what is asked about the schema: as many as explorers ask for, and some.
const SCHEMA_DEPTH_MAX: usize = 24;
/// Lists of the schema at most in each other, below the list of types: with more of them a short
/// document lists the schema many times over.
const SCHEMA_LISTS_MAX: usize = 2;
/// Operations at most.
const OPERATIONS_MAX: usize = 50;
/// Fragments at most.
const FRAGMENTS_MAX: usize = 200;
/// Places at most in which a fragment is spread.
const SPREADS_MAX: usize = 1_000;
/// Directives at most.
const DIRECTIVES_MAX: usize = 200;
/// Variables at most of an operation.
const VARIABLES_MAX: usize = 200;

/// Lists of the schema that lead to types, and so to themselves.
const SCHEMA_LISTS: [&str; 4] = ["fields", "inputFields", "interfaces", "possibleTypes"];

/// Refuses a document that is larger than any that people write.
pub(super) fn check(document: &ExecutableDocument) -> Result<(), Error> {
    let mut measure = Measure::new(document);
    within(
        document.operations.iter().count(),
        OPERATIONS_MAX,
        "operations",
    )?;
    within(document.fragments.len(), FRAGMENTS_MAX, "fragments")?;
    // also those that are spread nowhere: they are walked later all the same
    for name in document.fragments.keys() {
        measure.fragment(name);
    }
    measure.is_within()?;
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let variables = operation.variable_definitions.len();
        within(variables, VARIABLES_MAX, "variables")?;
        measure.directives += operation.directives.len();
        let size = measure.set(&operation.selection_set.node);
        measure.is_within()?;
        within(size.fields, FIELDS_MAX, "fields")?;
        within(size.depth, DEPTH_MAX, "levels")?;
        let schema = size.schema;
        within(schema.fields, FIELDS_MAX, "fields of the schema")?;
        within(schema.depth, SCHEMA_DEPTH_MAX, "levels of the schema")?;
        let what = "lists of the schema in each other";
        within(schema.lists, SCHEMA_LISTS_MAX, what)?;
    }
    within(
        measure.spreads,
        SPREADS_MAX,
        "places where a fragment is spread",
    )?;
    within(measure.directives, DIRECTIVES_MAX, "directives")
}

fn within(counted: usize, limit: usize, what: &str) -> Result<(), Error> {
    if counted <= limit {
        return Ok(());
    }
    let message = format!("the document comes to {counted} {what}, at most {limit} are answered");
    Err(error(ErrorCode::LimitExceeded, message))
}

/// What a selection comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    fields: usize,
    depth: usize,
    /// Lists in each other, were it of the schema.
    lists: usize,
    /// Selections in each other, those of fragments too.
    levels: usize,
    schema: SchemaSize,
}

/// What is selected of the schema.
#[derive(Clone, Copy, Debug, Default)]
struct SchemaSize {
    fields: usize,
    depth: usize,
    lists: usize,
}

impl Size {
    fn beside(&mut self, other: Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.depth = self.depth.max(other.depth);
        self.lists = self.lists.max(other.lists);
        self.levels = self.levels.max(other.levels);
        self.schema.fields = self.schema.fields.saturating_add(other.schema.fields);
        self.schema.depth = self.schema.depth.max(other.schema.depth);
        self.schema.lists = self.schema.lists.max(other.schema.lists);
    }
}

struct Measure<'a> {
    document: &'a ExecutableDocument,
    /// What each fragment comes to.
    fragments: HashMap<&'a Name, Size>,
    spreads: usize,
    directives: usize,
    /// Selections in each other that are being measured.
    level: usize,
    is_too_deep: bool,
}

impl<'a> Measure<'a> {
    fn new(document: &'a ExecutableDocument) -> Self {
        Self {
            document,
            fragments: HashMap::new(),
            spreads: 0,
            directives: 0,
            level: 0,
            is_too_deep: false,
        }
    }

    fn is_within(&self) -> Result<(), Error> {
        if self.is_too_deep {
            let message =
                format!("the document has more than {LEVELS_MAX} selections in each other");
            return Err(error(ErrorCode::LimitExceeded, message));
        }
        Ok(())
    }

    fn set(&mut self, set: &'a SelectionSet) -> Size {
        let mut size = Size::default();
        // this calls itself, and the stack has an end
        if self.level >= LEVELS_MAX {
            self.is_too_deep = true;
            return size;
        }
        self.level += 1;
        for selection in &set.items {
            size.beside(match &selection.node {
                Selection::Field(field) => self.field(&field.node),
                Selection::InlineFragment(fragment) => {
                    self.count(&fragment.node.directives);
                    self.set(&fragment.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    self.spreads += 1;
                    self.count(&spread.node.directives);
                    self.fragment(&spread.node.fragment_name.node)
                }
            });
        }
        self.level -= 1;
        size.levels += 1;
        // a fragment that was measured before is not walked again, wherever it stands
        self.is_too_deep |= size.levels > LEVELS_MAX;
        size
    }

    fn fragment(&mut self, name: &'a Name) -> Size {
        if let Some(size) = self.fragments.get(name) {
            return *size;
        }
        let Some(fragment) = self.document.fragments.get(name) else {
            return Size::default();
        };
        // one that contains itself ends here, and is refused when it is held against the schema
        self.fragments.insert(name, Size::default());
        self.count(&fragment.node.directives);
        let size = self.set(&fragment.node.selection_set.node);
        self.fragments.insert(name, size);
        size
    }

    fn field(&mut self, field: &'a Field) -> Size {
        self.count(&field.directives);
        let inner = self.set(&field.selection_set.node);
        let name = field.name.node.as_str();
        let (fields, depth) = (inner.fields.saturating_add(1), inner.depth + 1);
        if matches!(name, "__schema" | "__type") {
            let lists = inner.lists;
            return Size {
                fields: 1,
                depth: 1,
                lists: 0,
                levels: inner.levels,
                schema: SchemaSize {
                    fields,
                    depth,
                    lists,
                },
            };
        }
        let is_list = SCHEMA_LISTS.contains(&name);
        Size {
            fields,
            depth,
            lists: inner.lists + usize::from(is_list),
            levels: inner.levels,
            schema: inner.schema,
        }
    }

    fn count(&mut self, directives: &[Positioned<Directive>]) {
        self.directives += directives.len();
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::check;

    fn refused(document: &str) -> String {
        let document = parse_query(document).unwrap();
        check(&document).unwrap_err().message
    }

    fn taken(document: &str) {
        check(&parse_query(document).unwrap()).unwrap();
    }

    /// Fragments of which each spreads the next one twice.
    fn doubling(levels: usize) -> String {
        let fragment = |n: usize| format!("fragment f{n} on T {{ ...f{m} ...f{m} }}", m = n + 1);
        let fragments: Vec<String> = (0..levels).map(fragment).collect();
        let last = format!("fragment f{levels} on T {{ a }}");
        format!("{{ ...f0 }} {} {last}", fragments.join(" "))
    }

    /// Fragments of which each spreads the next one.
    fn chain(levels: usize) -> String {
        let fragments: Vec<String> = (0..levels)
            .map(|n| format!("fragment f{n} on T {{ ...f{} }}", n + 1))
            .collect();
        let last = format!("fragment f{levels} on T {{ a }}");
        format!("{{ ...f0 }} {} {last}", fragments.join(" "))
    }

    #[test]
    fn fragments_are_counted_as_often_as_they_are_spread() {
        taken(&doubling(10));
        assert!(refused(&doubling(11)).contains("2048 fields"));
        assert!(refused(&doubling(80)).contains("fields"));
        let chain: Vec<String> = (0..300)
            .map(|n| format!("fragment f{n} on T {{ ...f{} }}", n + 1))
            .collect();
        let unused = format!("{{ a }} {} fragment f300 on T {{ a }}", chain.join(" "));
        assert!(refused(&unused).contains("301 fragments"));
        taken("{ ...a } fragment a on T { ...b } fragment b on T { ...a c }");
    }

    /// Fragments are kept in no order: one in the middle may be measured before its spread.
    #[test]
    fn a_chain_is_as_deep_whichever_fragment_is_measured_first() {
        for _ in 0..20 {
            taken(&chain(97));
            assert!(refused(&chain(98)).contains("selections in each other"));
        }
    }

    #[test]
    fn a_chain_of_deep_fragments_is_walked_no_further_than_the_stack_goes() {
        let deep = |inner: &str| format!("{{ {}{inner}{} }}", "a { ".repeat(40), " }".repeat(40));
        let fragment = |n: usize| {
            let spread = format!("...f{}", n + 1);
            format!("fragment f{n} on T {}", deep(&spread))
        };
        let fragments: Vec<String> = (0..60).map(fragment).collect();
        let last = format!("fragment f60 on T {}", deep("b"));
        let document = format!("{{ ...f0 }} {} {last}", fragments.join(" "));
        assert!(refused(&document).contains("selections in each other"));
    }

    #[test]
    fn levels_and_fields_have_limits() {
        let nested = |levels: usize| format!("{}{}", "{ a ".repeat(levels), "}".repeat(levels));
        taken(&nested(15));
        assert!(refused(&nested(16)).contains("16 levels"));
        let wide = |fields: usize| format!("{{ {} }}", "__typename ".repeat(fields));
        taken(&wide(2_000));
        assert!(refused(&wide(2_001)).contains("2001 fields"));
        assert!(refused(&format!("{{ a {} }}", "@b ".repeat(201))).contains("201 directives"));
    }

    #[test]
    fn the_schema_is_asked_for_apart_and_not_many_times_over() {
        let types = |inner: &str| format!("{{ __schema {{ types {{ {inner} }} }} }}");
        let of_type = |levels| format!("{}name{}", "ofType { ".repeat(levels), " }".repeat(levels));
        taken(&types(&format!(
            "fields {{ args {{ type {{ {} }} }} }}",
            of_type(12)
        )));
        taken(&types("fields { type { fields { name } } }"));
        let thrice = types("fields { type { fields { type { possibleTypes { name } } } } }");
        assert!(refused(&thrice).contains("3 lists"));
        let in_fragments = format!(
            "{} fragment F on __Type {{ fields {{ type {{ ...G }} }} }} \
             fragment G on __Type {{ fields {{ type {{ fields {{ name }} }} }} }}",
            types("...F")
        );
        assert!(refused(&in_fragments).contains("3 lists"));
        // fields of ours with such names
        taken("{ fields { interfaces { fields { fields { a } } } } }");
    }
}
