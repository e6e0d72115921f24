//! What hostile input costs the server before it is refused.

use serde_json::json;

use crate::data;
use crate::door::{Answer, Door};
use crate::figures::{Bar, float, heading, judged};
use crate::server::{Place, Server};

/// Milliseconds of processors at most.
const MOST_MS: f64 = 10.0;

/// A request, and what has to come of it.
struct Attack {
    name: &'static str,
    body: Vec<u8>,
    ends: Ends,
}

/// How it has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// With an error.
    Refused,
    /// It is not wrong: with an answer.
    Answered,
}

/// Sends each many times, and judges what one has cost.
pub(crate) async fn measure(place: &Place, quick: bool) -> anyhow::Result<()> {
    let server = Server::start(place)?;
    data::seed(&server, 1).await?;
    let repeats = if quick { 20 } else { 200 };
    heading(&format!(
        "Hostile requests, processors of the server for each ({repeats} times)"
    ));
    for attack in attacks() {
        let used = server.processor_seconds()?;
        let mut status = 0;
        for _ in 0..repeats {
            // some are refused with their connection
            let mut door = Door::connect(server.address, "/graphql", server.key.as_deref()).await?;
            let answer = door.post(&attack.body).await?;
            check(&attack, &answer)?;
            status = answer.status;
        }
        let used = server.processor_seconds()? - used;
        let each = used * 1_000.0 / float(repeats);
        judged(
            &format!("{} ({status})", attack.name),
            each,
            "ms",
            Bar::AtMost(MOST_MS),
        );
    }
    Ok(())
}

fn check(attack: &Attack, answer: &Answer<'_>) -> anyhow::Result<()> {
    let ends = if answer.is_good() {
        Ends::Answered
    } else {
        Ends::Refused
    };
    let is_fault = answer.status >= 500;
    let (name, status) = (attack.name, answer.status);
    anyhow::ensure!(
        ends == attack.ends && !is_fault,
        "{name}: {status} {}",
        answer.text()
    );
    Ok(())
}

fn attacks() -> Vec<Attack> {
    let refused = |name, body: Vec<u8>| Attack {
        name,
        body,
        ends: Ends::Refused,
    };
    let asks = |name, document: String| refused(name, asking(&document));
    let mut attacks = vec![
        asks("fragments that double, 24 levels", doubling()),
        asks("5,000 unused fragments in a chain", chain()),
        asks("fragments in a circle", circle()),
        asks("2,000 aliases", aliases(2_000)),
        asks(
            "20,000 repeats of a field",
            format!("{{ viewer {{ {} }} }}", "name ".repeat(20_000)),
        ),
        asks(
            "9,000 repeats of a field",
            format!("{{ viewer {{ {} }} }}", "name ".repeat(9_000)),
        ),
        asks(
            "a negative first",
            "{ deviceMetrics(first: -1) { nodes { position } } }".to_owned(),
        ),
        asks(
            "an Int of 4,000 digits",
            format!(
                "{{ devices(first: {}) {{ nodes {{ name }} }} }}",
                "9".repeat(4_000)
            ),
        ),
        asks("braces, 60,000 levels", "{a".repeat(60_000)),
    ];
    attacks.extend(in_variables());
    let one = json!({ "query": "{ viewer { name } }" });
    attacks.push(refused(
        "100 operations in an array",
        json!(vec![one; 100]).to_string().into_bytes(),
    ));
    let mut invalid = br#"{"query":"{ viewer { name } }","variables":{"a":""#.to_vec();
    invalid.extend_from_slice(&[0xff, 0xfe, 0xc3, 0x28]);
    invalid.extend_from_slice(br#""}}"#);
    attacks.push(refused("invalid UTF-8", invalid));
    attacks
}

fn in_variables() -> Vec<Attack> {
    const BY_ID: &str = "query($id: ID!) { device(deviceId: $id) { name } }";
    const FILTERED: &str =
        "query($filter: DeviceMetricsFilter) { deviceMetrics(filter: $filter) { totalCount } }";
    const FIRST: &str = "query($first: Int) { devices(first: $first) { nodes { name } } }";
    let raw = |name, document: &str, variables: String| Attack {
        name,
        body: format!(r#"{{"query":{},"variables":{variables}}}"#, json!(document)).into_bytes(),
        ends: Ends::Refused,
    };
    let lists = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let nots = format!("{}{{}}{}", r#"{"not":"#.repeat(20_000), "}".repeat(20_000));
    let mut large = raw(
        "a text of a MB in a variable",
        BY_ID,
        json!({ "id": "x".repeat(1_000_000) }).to_string(),
    );
    // there is no such device
    large.ends = Ends::Answered;
    vec![
        raw(
            "lists in a variable, 20,000 levels",
            BY_ID,
            format!(r#"{{"id":{lists}}}"#),
        ),
        raw(
            "a filter of 20,000 levels",
            FILTERED,
            format!(r#"{{"filter":{nots}}}"#),
        ),
        large,
        raw(
            "a text of 1.1 MB in a variable",
            BY_ID,
            json!({ "id": "x".repeat(1_100_000) }).to_string(),
        ),
        raw(
            "1e400 in a variable",
            FIRST,
            r#"{"first":1e400}"#.to_owned(),
        ),
        raw(
            "a number of 100,000 digits in a variable",
            FIRST,
            format!(r#"{{"first":{}}}"#, "9".repeat(100_000)),
        ),
        raw(
            "first: -2147483648 in a variable",
            FIRST,
            r#"{"first":-2147483648}"#.to_owned(),
        ),
    ]
}

fn asking(document: &str) -> Vec<u8> {
    json!({ "query": document }).to_string().into_bytes()
}

/// A page by way of 2²⁴ spreads.
fn doubling() -> String {
    let levels = (0..24).map(|level| {
        let next = level + 1;
        format!("fragment f{level} on Query {{ ...f{next} ...f{next} }} ")
    });
    format!(
        "{{ ...f0 }} {}fragment f24 on Query {{ viewer {{ name }} }}",
        levels.collect::<String>()
    )
}

fn chain() -> String {
    let links = (0..5_000).map(|link| format!("fragment f{link} on Query {{ ...f{} }} ", link + 1));
    format!(
        "{{ viewer {{ name }} }} {}fragment f5000 on Query {{ viewer {{ name }} }}",
        links.collect::<String>()
    )
}

fn circle() -> String {
    "{ ...a } fragment a on Query { ...b } fragment b on Query { ...c } fragment c on Query { ...a }".to_owned()
}

fn aliases(count: usize) -> String {
    let fields =
        (0..count).map(|number| format!("a{number}: site(siteId: \"site-0\") {{ name }} "));
    format!("{{ {} }}", fields.collect::<String>())
}
