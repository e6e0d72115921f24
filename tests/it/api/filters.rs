//! Filters: whatever is asked of a kind, the tables, the live streams and a brute-force reading of
//! the rows that are shown agree on what passes.

use std::cmp::Ordering;

use homepot_analytics::kinds::{Kind, Spec, Type};
use serde_json::{Map, Value, json};

use super::alerts::opened;
use super::app::{TestApp, at, on_each_database};
use super::configuration::{applied, is_of_configuration};
use super::error_groups::decided;
use super::inputs::varied;
use super::job_steps::issued;

const ROWS: usize = 14;

/// Records rows of a kind (jobs are moved by the server alone) and reads them back whole.
async fn rows(app: &TestApp, spec: &'static Spec) -> Vec<Value> {
    if spec.recordable {
        let events: Vec<Value> = (0..ROWS).map(|row| varied(spec, row)).collect();
        for (batch, events) in events.chunks(5).enumerate() {
            app.clock.advance_ms(i64::try_from(batch).unwrap() * 1_000);
            app.record(json!(events)).await;
        }
    } else if spec.kind == Kind::ErrorGroupChange {
        for _ in 0..2 {
            app.clock.advance_ms(1_000);
            decided(app).await;
        }
    } else if is_of_configuration(spec.kind) {
        for device in ["till-1", "till-3"] {
            app.clock.advance_ms(1_000);
            applied(app, device).await;
        }
    } else {
        for (job, device) in [("RESTART", "till-1"), ("HEALTH_CHECK", "till-3")] {
            app.clock.advance_ms(1_000);
            let create = format!(
                "mutation {{ createJob(input: {{ jobType: {job}, deviceIds: [\"{device}\"] }}) {{ job {{ jobId }} }} }}"
            );
            app.data(&create).await;
        }
        // each is for one device, and is at rest when that was given it
        let jobs = app.data("{ jobs { totalCount } }").await;
        let jobs = jobs["jobs"]["totalCount"].as_str().unwrap().parse();
        issued(app, jobs.unwrap()).await;
        if matches!(spec.kind, Kind::AlertRuleChange | Kind::AlertTransition) {
            opened(app, &["till-1", "till-3"]).await;
            opened(app, &["till-2"]).await;
        }
    }
    all(app, spec, &fields(spec)).await
}

fn fields(spec: &Spec) -> String {
    let mut fields = "position occurredAt recordedAt provenance".to_owned();
    for field in spec.fields {
        fields.push(' ');
        fields.push_str(field.name);
        if matches!(field.ty, Type::Windows) {
            fields.push_str(" { start end }");
        }
    }
    if spec.device_index().is_some() || spec.site_index().is_some() {
        fields.push_str(" site { siteId }");
    }
    fields
}

fn scope(spec: &Spec) -> &'static str {
    if spec.derived.is_some() {
        ", all: true"
    } else {
        ""
    }
}

/// What the test itself has recorded, and neither the fleet nor the server's own requests.
fn base(spec: &Spec) -> Value {
    if spec.recordable {
        json!({ "occurredAt": { "lt": at(-9) } })
    } else {
        json!({})
    }
}

async fn all(app: &TestApp, spec: &Spec, fields: &str) -> Vec<Value> {
    let (list, scope) = (spec.list, scope(spec));
    let ty = spec.type_name;
    let document = format!(
        "query($f: {ty}Filter) {{ {list}(first: 1000, filter: $f{scope}) {{ nodes {{ {fields} }} }} }}"
    );
    let mut data = app.data_with(&document, json!({ "f": base(spec) })).await;
    serde_json::from_value(data[list]["nodes"].take()).unwrap()
}

/// The value of a row that a filter's field looks at.
fn shown<'a>(row: &'a Value, name: &str) -> &'a Value {
    match name {
        "siteId" => &row["site"]["siteId"],
        _ => &row[name],
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => Some(left.as_str()?.cmp(right.as_str()?)),
    }
}

fn holds(value: &Value, operator: &str, wanted: &Value) -> bool {
    let compared = |found: &[Ordering]| {
        !value.is_null() && order(value, wanted).is_some_and(|order| found.contains(&order))
    };
    let text = value.as_str().unwrap_or_default();
    match operator {
        "eq" => value == wanted || compared(&[Ordering::Equal]),
        "in" => wanted
            .as_array()
            .unwrap()
            .iter()
            .any(|one| holds(value, "eq", one)),
        "lt" => compared(&[Ordering::Less]),
        "lte" => compared(&[Ordering::Less, Ordering::Equal]),
        "gt" => compared(&[Ordering::Greater]),
        "gte" => compared(&[Ordering::Greater, Ordering::Equal]),
        "isNull" => value.is_null() == (wanted == &json!(true)),
        "startsWith" => !value.is_null() && text.starts_with(wanted.as_str().unwrap()),
        "contains" => {
            let part = wanted.as_str().unwrap().to_ascii_lowercase();
            !value.is_null() && text.to_ascii_lowercase().contains(&part)
        }
        _ => panic!("no operator {operator}"),
    }
}

fn passes(row: &Value, filter: &Value) -> bool {
    filter
        .as_object()
        .unwrap()
        .iter()
        .all(|(name, value)| match name.as_str() {
            "and" => value
                .as_array()
                .unwrap()
                .iter()
                .all(|inner| passes(row, inner)),
            "or" => value
                .as_array()
                .unwrap()
                .iter()
                .any(|inner| passes(row, inner)),
            "not" => !passes(row, value),
            name => {
                let conditions = value.as_object().unwrap().iter();
                let mut conditions =
                    conditions.map(|(op, wanted)| holds(shown(row, name), op, wanted));
                conditions.all(|held| held)
            }
        })
}

/// Every operator on every field that can be asked by, with values that some rows have.
fn conditions(spec: &Spec, rows: &[Value]) -> Vec<Value> {
    let ranges: &[&str] = &["lt", "lte", "gt", "gte"];
    let mut all = Vec::new();
    let mut add = |name: &str, operator: &str, wanted: Value| {
        all.push(json!({ name: { operator: wanted } }));
    };
    for time in ["occurredAt", "recordedAt"] {
        for operator in ranges {
            add(time, operator, rows[rows.len() / 2][time].clone());
        }
    }
    add("provenance", "eq", json!("REAL"));
    add("provenance", "in", json!(["CONTROLLED", "SIMULATED"]));
    let mut names: Vec<(&str, Type)> = Vec::new();
    names.extend(
        spec.fields
            .iter()
            .filter(|f| f.filtered)
            .map(|f| (f.name, f.ty)),
    );
    if spec.site_index().is_none() && spec.device_index().is_some() {
        names.push(("siteId", Type::Site));
    }
    for (name, ty) in names {
        let mut values: Vec<&Value> = rows.iter().map(|row| shown(row, name)).collect();
        values.retain(|value| !value.is_null());
        values.dedup();
        let Some(some) = values.get(values.len() / 2).copied().cloned() else {
            continue;
        };
        add(name, "isNull", json!(true));
        add(name, "isNull", json!(false));
        add(name, "eq", some.clone());
        match ty {
            Type::Bool => continue,
            Type::Text { .. } | Type::Currency | Type::TimeZone => {
                for part in ["A", "al", "É", "été", "%", "_", "", "Europe/"] {
                    add(name, "startsWith", json!(part));
                    add(name, "contains", json!(part));
                }
            }
            Type::Float { .. }
            | Type::Int { .. }
            | Type::Long { .. }
            | Type::Money
            | Type::Date => {
                for operator in ranges {
                    add(name, operator, some.clone());
                }
            }
            _ => {}
        }
        add(name, "in", json!([some, values[0]]));
        add(name, "in", json!([]));
    }
    all
}

/// Combinations of conditions.
fn combinations(conditions: &[Value]) -> Vec<Value> {
    let pick = |choice: usize| conditions[choice * 17 % conditions.len()].clone();
    let mut all: Vec<Value> = conditions.iter().map(|one| json!({ "not": one })).collect();
    for choice in 0..12 {
        let (a, b, c) = (pick(choice), pick(choice * 3 + 1), pick(choice * 5 + 2));
        all.push(json!({ "and": [a, { "or": [b, { "not": c }] }] }));
        all.push(json!({ "or": [{ "and": [a, b] }, { "not": { "not": c } }] }));
        let mut together: Map<String, Value> = Map::new();
        together.extend(a.as_object().unwrap().clone());
        together.extend(b.as_object().unwrap().clone());
        together.insert("not".to_owned(), c);
        all.push(Value::Object(together));
    }
    all.extend([
        json!({}),
        json!({ "and": [] }),
        json!({ "or": [] }),
        json!({ "not": {} }),
    ]);
    all
}

/// Positions that pass each filter, asked for in a few requests.
async fn asked(app: &TestApp, spec: &Spec, filters: &[Value]) -> Vec<Vec<String>> {
    let (list, ty, scope) = (spec.list, spec.type_name, scope(spec));
    let mut found = Vec::new();
    for filters in filters.chunks(150) {
        let (mut heads, mut body, mut variables) = (Vec::new(), Vec::new(), Map::new());
        for (n, filter) in filters.iter().enumerate() {
            heads.push(format!("$f{n}: {ty}Filter"));
            body.push(format!(
                "f{n}: {list}(filter: $f{n}, first: 100{scope}) {{ nodes {{ position }} totalCount }} "
            ));
            let filter = json!({ "and": [base(spec), filter] });
            variables.insert(format!("f{n}"), filter);
        }
        let body = body.concat();
        let document = format!("query({}) {{ {body} }}", heads.join(", "));
        let data = app.data_with(&document, json!(variables)).await;
        for n in 0..filters.len() {
            let page = &data[format!("f{n}")];
            let positions = super::app::texts(&page["nodes"], "position");
            assert_eq!(
                page["totalCount"],
                json!(positions.len().to_string()),
                "{}",
                filters[n]
            );
            found.push(positions);
        }
    }
    found
}

fn expected(rows: &[Value], filter: &Value) -> Vec<String> {
    let passing = rows.iter().filter(|row| passes(row, filter));
    passing
        .map(|row| row["position"].as_str().unwrap().to_owned())
        .collect()
}

async fn check_tables(app: &TestApp, spec: &'static Spec) {
    let rows = rows(app, spec).await;
    assert!(rows.len() >= 2, "{}", spec.wire);
    let conditions = conditions(spec, &rows);
    let mut filters = combinations(&conditions);
    filters.extend(conditions);
    for (filter, found) in filters.iter().zip(asked(app, spec, &filters).await) {
        assert_eq!(found, expected(&rows, filter), "{}: {filter}", spec.wire);
    }
}

#[tokio::test]
async fn every_filter_of_every_kind_finds_what_its_rows_show() {
    on_each_database(async |app| {
        app.fleet().await;
        for kind in Kind::ALL.iter().copied() {
            check_tables(app, kind.spec()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_lets_pass_what_the_connection_finds() {
    on_each_database(async |app| {
        app.fleet().await;
        let start = app.head().await;
        let mut socket = app.socket().await;
        for spec in Kind::ALL.iter().map(|kind| kind.spec()).filter(|spec| spec.recordable) {
            let rows = rows(app, spec).await;
            // what passes every filter and comes last: nothing may come between
            let mut last = varied(spec, ROWS);
            last[spec.wire]["occurredAt"] = json!(at(-1));
            let last = app.record(json!([last])).await[0].to_string();
            let is_last = json!({ "occurredAt": { "gte": at(-2), "lt": at(0) } });
            let conditions = conditions(spec, &rows);
            let mut filters = combinations(&conditions);
            filters.extend(conditions);
            for filter in filters.iter().step_by(7) {
                let mut wanted = expected(&rows, filter);
                wanted.sort_by_key(|position| position.parse::<i64>().unwrap());
                wanted.push(last.clone());
                let document = format!(
                    "subscription($f: {}Filter, $after: String) {{ {}(filter: $f, after: $after{}) {{ position }} }}",
                    spec.type_name, spec.stream, scope(spec)
                );
                let filter = json!({ "or": [{ "and": [base(spec), filter] }, is_last] });
                let variables = json!({ "f": filter, "after": start });
                let id = socket.subscribe(&document, variables).await;
                for position in wanted {
                    let data = socket.data(&id).await;
                    assert_eq!(data[spec.stream]["position"], position, "{}: {filter}", spec.wire);
                }
                socket.unsubscribe(&id).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn events_of_all_kinds_are_asked_for_by_kind_device_site_time_and_provenance() {
    on_each_database(async |app| {
        app.fleet().await;
        for spec in Kind::ALL.iter().map(|kind| kind.spec()).filter(|spec| spec.recordable) {
            let events: Vec<Value> = (0..5).map(|row| varied(spec, row)).collect();
            app.record(json!(events)).await;
        }
        let place = |spec: &Spec| {
            let ty = spec.type_name;
            match (spec.device_index(), spec.site_index()) {
                (Some(_), _) => format!("... on {ty} {{ deviceId site {{ siteId }} }}"),
                (None, Some(_)) => format!("... on {ty} {{ site {{ siteId }} }}"),
                (None, None) => String::new(),
            }
        };
        let places: Vec<String> = Kind::all().map(|kind| place(kind.spec())).collect();
        let whole = &format!(
            "query($f: EventFilter) {{ events(filter: $f, first: 1000) {{ totalCount nodes {{
            position kind occurredAt recordedAt provenance {} }} }} }}",
            places.join(" ")
        );
        // what this server records of itself meanwhile is none of it
        let before = json!({ "occurredAt": { "lt": at(-9) } });
        let data = app.data_with(whole, json!({ "f": before })).await;
        let rows: Vec<Value> = serde_json::from_value(data["events"]["nodes"].clone()).unwrap();
        assert!(rows.len() > 40);
        for filter in [
            json!({ "kind": { "eq": "jobOutcome" } }),
            json!({ "kind": { "in": ["errorLog", "userActivity"] } }),
            json!({ "not": { "kind": { "in": ["errorLog", "userActivity"] } } }),
            json!({ "deviceId": { "eq": "till-1" } }),
            json!({ "deviceId": { "in": ["till-1", "till-3"] }, "kind": { "eq": "deviceMetrics" } }),
            json!({ "deviceId": { "isNull": true } }),
            json!({ "deviceId": { "isNull": false } }),
            json!({ "not": { "deviceId": { "eq": "till-1" } } }),
            json!({ "siteId": { "eq": "market" } }),
            json!({ "siteId": { "isNull": true } }),
            json!({ "not": { "siteId": { "eq": "market" } } }),
            json!({ "siteId": { "eq": "nowhere" } }),
            json!({ "provenance": { "eq": "SIMULATED" } }),
            json!({ "occurredAt": { "gte": at(-40), "lt": at(-20) } }),
            json!({ "or": [{ "siteId": { "eq": "market" } }, { "kind": { "eq": "apiRequest" } }] }),
        ] {
            let filter = json!({ "and": [before, filter] });
            let data = app.data_with(whole, json!({ "f": filter })).await;
            let found = super::app::texts(&data["events"]["nodes"], "position");
            assert_eq!(found, expected(&rows, &filter), "{filter}");
            assert_eq!(data["events"]["totalCount"], json!(found.len().to_string()));
        }
    })
    .await;
}
