//! Makes the GraphQL types of all kinds from what the kinds say: object, input, filter, edge and
//! connection for each, and the interface over them.

use async_graphql::registry::{MetaField, MetaInputValue, Registry};

use super::meta::{self, Entries, enumeration, field, field_with, input, input_object, input_or};
use super::scalars;
use crate::kinds::{Field, Kind, Origin, Spec, Type};

/// Rows of a page when no number is given.
pub(super) const PAGE_DEFAULT: usize = 50;
/// Rows of a page at most.
pub(super) const PAGE_MAX: usize = 1_000;

/// Adds the types of all kinds.
pub(super) fn register(registry: &mut Registry) {
    scalars::register(registry);
    register_shared(registry);
    register_filters(registry);
    let kinds: Vec<&Spec> = Kind::all().map(Kind::spec).collect();
    let names: Vec<String> = kinds.iter().map(|spec| spec.type_name.to_owned()).collect();
    for spec in &kinds {
        register_kind(registry, spec);
    }
    let description = "One immutable fact of the log, of any kind.";
    meta::interface(registry, "Event", description, envelope(), &names);
    let mut nodes = names;
    nodes.extend(["Site".to_owned(), "Device".to_owned(), "Job".to_owned()]);
    let id = field("id", "ID!", "Opaque id, for `node`.");
    meta::interface(registry, "Node", "Something with an id.", vec![id], &nodes);
    register_connection(registry, "Event", "Events of several kinds");
    let recordable = kinds.iter().filter(|spec| spec.recordable);
    let inputs = recordable.map(|spec| input(spec.wire, &spec.input_name(), spec.description));
    let description = "One event: exactly one of its fields is given, and names its kind.";
    input_object(
        registry,
        "EventInput",
        description,
        inputs.collect(),
        Entries::One,
    );
    let values: Vec<(&str, &str)> = kinds.iter().map(|s| (s.wire, s.description)).collect();
    enumeration(registry, "EventKind", "A kind of event.", &values);
    let fields = vec![
        input("and", "[EventFilter!]", "All of these."),
        input("or", "[EventFilter!]", "At least one of these."),
        input("not", "EventFilter", "Not this."),
        input("kind", "EventKindFilter", "The kind."),
        input("deviceId", "IdFilter", "The device that the event names."),
        input(
            "siteId",
            "IdFilter",
            "The site that the event names, or at which its device was registered when it happened.",
        ),
    ];
    let fields = fields.into_iter().chain(envelope_filters()).collect();
    input_object(
        registry,
        "EventFilter",
        "Which events of all kinds.",
        fields,
        Entries::Any,
    );
}

fn register_shared(registry: &mut Registry) {
    let provenances = [
        ("REAL", "Seen in the real world."),
        ("CONTROLLED", "Made by an emulator under control."),
        ("SIMULATED", "Made up by a simulator."),
    ];
    enumeration(
        registry,
        "Provenance",
        "Where a fact comes from.",
        &provenances,
    );
    let orders = [
        ("NEWEST_FIRST", "By `occurredAt`, the newest first."),
        ("OLDEST_FIRST", "By `occurredAt`, the oldest first."),
        (
            "LAST_RECORDED_FIRST",
            "By position in the log, the last recorded first.",
        ),
        (
            "FIRST_RECORDED_FIRST",
            "By position in the log, the first recorded first.",
        ),
    ];
    enumeration(
        registry,
        "EventOrder",
        "Order of a page of events.",
        &orders,
    );
    let page_info = vec![
        field("hasNextPage", "Boolean!", "Whether more follow."),
        field("hasPreviousPage", "Boolean!", "Whether some come before."),
        field("startCursor", "String", "Cursor of the first row."),
        field("endCursor", "String", "Cursor of the last row."),
    ];
    meta::object(
        registry,
        "PageInfo",
        "Where a page stands among the others.",
        page_info,
    );
    let window = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    let (start, end) = window(
        "When it begins.",
        "When it ends; earlier than `start` means after midnight, the same means a day later.",
    );
    let fields = vec![
        field("start", "LocalTime!", &start),
        field("end", "LocalTime!", &end),
    ];
    meta::object(registry, "TimeWindow", "A part of a day.", fields);
    let fields = vec![
        input("start", "LocalTime!", &start),
        input("end", "LocalTime!", &end),
    ];
    input_object(
        registry,
        "TimeWindowInput",
        "A part of a day.",
        fields,
        Entries::Any,
    );
}

fn register_kind(registry: &mut Registry, spec: &Spec) {
    for field in spec.fields {
        if let Type::Enum(set) = field.ty {
            enumeration(registry, set.name, set.description, set.values);
            let filter = format!("{}Filter", set.name);
            register_filter(registry, &filter, set.name, &["eq", "in", "isNull"]);
        }
    }
    let mut fields = envelope();
    fields.extend(
        spec.fields
            .iter()
            .map(|f| field(f.name, &output_type(f), f.description)),
    );
    if spec.device_index().is_some() {
        fields.push(field(
            "device",
            "Device",
            "The device that the event names.",
        ));
    }
    if spec.device_index().is_some() || spec.site_index().is_some() {
        let description = "The site that the event names, or at which its device was registered when it happened.";
        fields.push(field("site", "Site", description));
    }
    meta::object(registry, spec.type_name, spec.description, fields);
    register_connection(registry, spec.type_name, spec.description);
    register_input(registry, spec);
    register_kind_filter(registry, spec);
}

fn register_input(registry: &mut Registry, spec: &Spec) {
    if !spec.recordable {
        return;
    }
    let natural = spec.identity == crate::kinds::Identity::DeviceAndTime;
    let (at, at_description) = if natural {
        (
            "DateTime!",
            "When it was measured; together with the device, and `part`, it is the key of the event.",
        )
    } else {
        ("DateTime", "When it happened; now when absent.")
    };
    let id = "Key under which a repeat is known, version 7 recommended; an event without any is stored at least once.";
    let mut fields = vec![
        input("eventId", "UUID", id),
        input("occurredAt", at, at_description),
        input_or(
            "provenance",
            "Provenance",
            "REAL",
            "Where the fact comes from.",
        ),
    ];
    fields.extend(inputs_of_fields(spec));
    fields.push(input(
        "extra",
        "JSON",
        "What else the source says; at most 64 KiB.",
    ));
    input_object(
        registry,
        &spec.input_name(),
        spec.description,
        fields,
        Entries::Any,
    );
}

/// What a source gives of a kind, without what all kinds have.
pub(super) fn inputs_of_fields(spec: &Spec) -> Vec<MetaInputValue> {
    let given = spec
        .fields
        .iter()
        .filter(|field| field.origin != Origin::FilledIn);
    let input = |field: &Field| {
        let required = if field.origin == Origin::Required {
            "!"
        } else {
            ""
        };
        let ty = format!("{}{required}", named_type(&field.ty, Use::Input));
        input(field.name, &ty, field.description)
    };
    given.map(input).collect()
}

fn register_kind_filter(registry: &mut Registry, spec: &Spec) {
    let name = filter_name(spec);
    let mut fields = vec![
        input("and", &format!("[{name}!]"), "All of these."),
        input("or", &format!("[{name}!]"), "At least one of these."),
        input("not", &name, "Not this."),
    ];
    fields.extend(envelope_filters());
    for field in spec.fields.iter().filter(|field| field.filtered) {
        fields.push(input(
            field.name,
            &filter_type(&field.ty),
            field.description,
        ));
    }
    if spec.site_index().is_none() && spec.device_index().is_some() {
        let description = "The site at which the device was registered when it happened.";
        fields.push(input("siteId", "IdFilter", description));
    }
    let description = format!(
        "Which rows of `{}`: all conditions given must hold.",
        spec.list
    );
    input_object(registry, &name, &description, fields, Entries::Any);
}

fn envelope_filters() -> Vec<MetaInputValue> {
    vec![
        input("occurredAt", "DateTimeFilter", "When it happened."),
        input("recordedAt", "DateTimeFilter", "When it was appended."),
        input(
            "provenance",
            "ProvenanceFilter",
            "Where the fact comes from.",
        ),
    ]
}

/// Name of the filter of a kind.
pub(super) fn filter_name(spec: &Spec) -> String {
    format!("{}Filter", spec.type_name)
}

fn envelope() -> Vec<MetaField> {
    vec![
        field("id", "ID!", "Opaque id, for `node`."),
        field(
            "cursor",
            "String!",
            "Place of the event, for `after` and `before`, and to go on from live.",
        ),
        field(
            "position",
            "Long!",
            "Place in the log: 1, 2, 3 … without a hole.",
        ),
        field("kind", "EventKind!", "Kind of the event."),
        field("eventId", "UUID", "Key that its source gave it."),
        field(
            "occurredAt",
            "DateTime!",
            "When it happened, at its source.",
        ),
        field("recordedAt", "DateTime!", "When it was appended."),
        field("provenance", "Provenance!", "Where the fact comes from."),
        field("extra", "JSON", "What else the source said."),
    ]
}

fn register_connection(registry: &mut Registry, ty: &str, what: &str) {
    let edge = format!("{ty}Edge");
    let fields = vec![
        field("cursor", "String!", "Place of the row."),
        field("node", &format!("{ty}!"), "The row."),
    ];
    meta::object(registry, &edge, "A row with its place.", fields);
    let fields = vec![
        field(
            "edges",
            &format!("[{edge}!]!"),
            "The rows with their places.",
        ),
        field("nodes", &format!("[{ty}!]!"), "The rows."),
        field(
            "pageInfo",
            "PageInfo!",
            "Where the page stands among the others.",
        ),
        field(
            "totalCount",
            "Long",
            "How many rows there are on all pages; counted only when asked for.",
        ),
        field(
            "liveCursor",
            "String!",
            "Head of the log that this page was read at: as `after` of the subscription it gives what \
             comes next, without overlap or gap.",
        ),
    ];
    let description = format!("A page of: {}", what.trim_end_matches('.'));
    meta::object(registry, &format!("{ty}Connection"), &description, fields);
}

/// The arguments of every connection of events.
pub(super) fn page_arguments(filter: &str) -> Vec<MetaInputValue> {
    let size = format!(
        "Rows at most, from the beginning; {PAGE_DEFAULT} when neither is given, {PAGE_MAX} at most."
    );
    vec![
        input("filter", filter, "Which rows."),
        input_or("order", "EventOrder", "NEWEST_FIRST", "In which order."),
        input("first", "Int", &size),
        input("after", "String", "Begins after this place."),
        input(
            "last",
            "Int",
            &format!("Rows at most, from the end; {PAGE_MAX} at most."),
        ),
        input("before", "String", "Ends before this place."),
    ]
}

/// The argument of kinds whose events are states.
pub(super) fn scope_argument(spec: &Spec) -> Option<MetaInputValue> {
    let description = "Also reports that did not change the state.";
    spec.derived
        .as_ref()
        .map(|_| input_or("all", "Boolean", "false", description))
}

/// The connection of a kind as a field.
pub(super) fn connection_field(spec: &Spec, description: &str) -> MetaField {
    let mut arguments = page_arguments(&filter_name(spec));
    arguments.extend(scope_argument(spec));
    field_with(
        spec.list,
        &format!("{}Connection", spec.type_name),
        description,
        arguments,
    )
}

/// Where a type stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Use {
    /// In what is given.
    Input,
    /// In what is answered.
    Output,
}

fn output_type(field: &Field) -> String {
    let required = if field.origin == Origin::Required {
        "!"
    } else {
        ""
    };
    format!("{}{required}", named_type(&field.ty, Use::Output))
}

/// The type of a field in the schema.
pub(super) fn named_type(ty: &Type, used: Use) -> &'static str {
    match ty {
        Type::Device | Type::Site | Type::NewDevice | Type::NewSite => "ID",
        Type::Text { .. } | Type::Currency => "String",
        Type::Enum(set) => set.name,
        Type::Float { .. } => "Float",
        Type::Int { .. } => "Int",
        Type::Long { .. } => "Long",
        Type::Money => "Decimal",
        Type::Bool => "Boolean",
        Type::Json { .. } | Type::Services => "JSON",
        Type::Date => "Date",
        Type::LocalTime => "LocalTime",
        Type::TimeZone => "TimeZone",
        Type::Windows if used == Use::Input => "[TimeWindowInput!]",
        Type::Windows => "[TimeWindow!]",
        Type::Tags => "[String!]",
    }
}

fn filter_type(ty: &Type) -> String {
    match ty {
        Type::Device | Type::Site | Type::NewDevice | Type::NewSite => "IdFilter",
        Type::Text { .. } | Type::Currency | Type::TimeZone => "StringFilter",
        Type::Enum(set) => return format!("{}Filter", set.name),
        Type::Float { .. } => "FloatFilter",
        Type::Int { .. } => "IntFilter",
        Type::Long { .. } => "LongFilter",
        Type::Money => "DecimalFilter",
        Type::Bool => "BooleanFilter",
        Type::Date => "DateFilter",
        Type::Json { .. } | Type::Services | Type::LocalTime => "NullFilter",
        Type::Windows | Type::Tags => "NullFilter",
    }
    .to_owned()
}

fn register_filters(registry: &mut Registry) {
    const RANGE: &[&str] = &["eq", "in", "lt", "lte", "gt", "gte", "isNull"];
    for (name, ty) in [
        ("FloatFilter", "Float"),
        ("IntFilter", "Int"),
        ("LongFilter", "Long"),
        ("DecimalFilter", "Decimal"),
        ("DateFilter", "Date"),
    ] {
        register_filter(registry, name, ty, RANGE);
    }
    register_filter(
        registry,
        "DateTimeFilter",
        "DateTime",
        &["lt", "lte", "gt", "gte"],
    );
    register_filter(registry, "IdFilter", "ID", &["eq", "in", "isNull"]);
    register_filter(registry, "ProvenanceFilter", "Provenance", &["eq", "in"]);
    register_filter(registry, "EventKindFilter", "EventKind", &["eq", "in"]);
    register_filter(registry, "BooleanFilter", "Boolean", &["eq", "isNull"]);
    register_filter(registry, "NullFilter", "Boolean", &["isNull"]);
    let text = &["eq", "in", "startsWith", "contains", "isNull"];
    register_filter(registry, "StringFilter", "String", text);
}

fn register_filter(registry: &mut Registry, name: &str, ty: &str, operators: &[&str]) {
    let described = |operator: &&str| match *operator {
        "in" => input("in", &format!("[{ty}!]"), "Is one of these, at most 500."),
        "isNull" => input("isNull", "Boolean", "Is absent, or is not."),
        "eq" => input("eq", ty, "Is this."),
        "lt" => input("lt", ty, "Is less than this."),
        "lte" => input("lte", ty, "Is this or less."),
        "gt" => input("gt", ty, "Is greater than this."),
        "gte" => input("gte", ty, "Is this or greater."),
        "startsWith" => input("startsWith", ty, "Begins with this."),
        _ => input(
            "contains",
            ty,
            "Has this in it; upper and lower case of ASCII letters are the same.",
        ),
    };
    let description =
        "Conditions on a field: all that are given must hold; one on an absent value does not.";
    input_object(
        registry,
        name,
        description,
        operators.iter().map(described).collect(),
        Entries::Any,
    );
}
