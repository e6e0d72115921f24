//! Rankings: each thing comes to what a count over its events comes to, beside all of them and an earlier time.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use num_traits::AsPrimitive;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::asked::Asked;
use super::recorded::{Reading, Recorded, SITES, micros};
use super::{record, seeds};

const QUERY: &str = "query Law($measure: Measure!, $by: Dimension!, $from: DateTime!, $to: DateTime!, \
    $zone: TimeZone, $filter: SeriesFilter, $aggregate: Aggregate, $top: Int, $order: RankOrder, \
    $compareWith: CompareWith) { breakdown(measures: [$measure], by: $by, from: $from, to: $to, timeZone: $zone, \
    filter: $filter, aggregate: $aggregate, top: $top, order: $order, compareWith: $compareWith) { \
    timeZone earlierFrom earlierTo lists { measure currency aggregate things value earlierValue \
    rows { key { value } isOther things rank value share earlierValue change bucket { count } } } } }";

/// A ranking that is asked for.
struct Ranking {
    asked: Asked,
    measure: &'static str,
    aggregate: &'static str,
    top: usize,
    is_highest_first: bool,
}

impl Ranking {
    fn made_up(random: &mut StdRng) -> Self {
        let mut asked = Asked::made_up(random);
        // it is not cut into buckets
        (asked.unit, asked.day_start) = ("DAY", 0);
        asked.by = vec![["DEVICE", "SITE", "DEVICE_TYPE"].choose(random).unwrap()];
        let (measure, aggregate) = *[
            ("READINGS", "COUNT"),
            ("CPU_PERCENT", "COUNT"),
            ("CPU_PERCENT", "SUM"),
            ("CPU_PERCENT", "AVG"),
            ("CPU_PERCENT", "MAX"),
            ("TRANSACTION_COUNT", "INCREASE"),
            ("TRANSACTION_COUNT", "MIN"),
            ("TRANSACTION_VOLUME", "INCREASE"),
        ]
        .choose(random)
        .unwrap();
        Self {
            asked,
            measure,
            aggregate,
            top: random.random_range(1..5),
            is_highest_first: random.random_bool(0.7),
        }
    }

    fn variables(&self) -> Value {
        let mut variables = self.asked.variables();
        variables["measure"] = json!(self.measure);
        variables["by"] = json!(self.asked.by[0]);
        variables["zone"] = json!(self.asked.zone.map(Tz::name));
        variables["aggregate"] = json!(self.aggregate);
        variables["top"] = json!(self.top);
        variables["order"] = json!(if self.is_highest_first {
            "HIGHEST_FIRST"
        } else {
            "LOWEST_FIRST"
        });
        for other in ["buckets", "fill"] {
            variables.as_object_mut().unwrap().remove(other);
        }
        variables
    }

    fn adds_up(&self) -> bool {
        ["COUNT", "SUM", "INCREASE"].contains(&self.aggregate)
    }

    /// What readings come to; of what adds up nothing is zero.
    fn value(&self, recorded: &Recorded, of: &[&Reading]) -> Option<f64> {
        let counter = |reading: &Reading| match self.measure {
            "TRANSACTION_VOLUME" => reading.volume,
            _ => reading.sales,
        };
        let values: Vec<f64> = match self.measure {
            "READINGS" => vec![1.0; of.len()],
            "CPU_PERCENT" => of.iter().filter_map(|reading| reading.cpu).collect(),
            _ => of
                .iter()
                .filter_map(|r| counter(r))
                .map(AsPrimitive::as_)
                .collect(),
        };
        if values.is_empty() {
            return self.adds_up().then_some(0.0);
        }
        let sum: f64 = values.iter().sum();
        let count: f64 = values.len().as_();
        Some(match self.aggregate {
            "COUNT" => count,
            "SUM" => sum,
            "AVG" => sum / count,
            "MAX" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "MIN" => values.iter().copied().fold(f64::INFINITY, f64::min),
            _ => {
                let growth = recorded.growth(counter);
                let told = of.iter().filter(|reading| counter(reading).is_some());
                let grown: i64 = told.map(|r| growth[&(r.device, r.at)]).sum();
                let grown: f64 = grown.as_();
                grown
                    / if self.measure == "TRANSACTION_VOLUME" {
                        10_000.0
                    } else {
                        1.0
                    }
            }
        })
    }

    fn is_said(&self, reading: &Reading) -> bool {
        match self.measure {
            "READINGS" => true,
            "CPU_PERCENT" => reading.cpu.is_some(),
            "TRANSACTION_VOLUME" => reading.volume.is_some(),
            _ => reading.sales.is_some(),
        }
    }
}

fn near(told: &Value, expected: Option<f64>, what: &str) {
    match expected {
        None => assert_eq!(*told, Value::Null, "{what}"),
        Some(expected) => {
            let told = told
                .as_f64()
                .unwrap_or_else(|| panic!("{what}: {told}, not {expected}"));
            let off = (told - expected).abs();
            assert!(
                off <= expected.abs().max(1.0) * 1e-9,
                "{what}: {told}, not {expected}"
            );
        }
    }
}

/// What there is of each thing: in the time that is asked for, and in the earlier one.
type Things<'a> = BTreeMap<String, (Vec<&'a Reading>, Vec<&'a Reading>)>;

async fn ask(app: &TestApp, recorded: &Recorded, ranking: &Ranking) {
    let variables = ranking.variables();
    let data = app.data_with(QUERY, variables.clone()).await;
    let told = &data["breakdown"];
    let asked = &ranking.asked;
    let zone: Tz = told["timeZone"].as_str().unwrap().parse().unwrap();
    let earlier = asked.earlier(zone);
    let instant = |name: &str| told[name].as_str().map(micros);
    assert_eq!(instant("earlierFrom").zip(instant("earlierTo")), earlier);
    let now = asked.counted(recorded);
    let before = earlier.map(|range| {
        if now.is_empty() {
            // then the earlier time has the most real that there is in it
            let (from, to) = range;
            let asked = Asked {
                from,
                to,
                ..asked.clone()
            };
            asked.counted(recorded)
        } else {
            asked.counted_earlier(recorded, range)
        }
    });
    let is_money = ranking.measure == "TRANSACTION_VOLUME";
    let mut lists: BTreeMap<Option<&str>, Things<'_>> = BTreeMap::new();
    for (is_now, readings) in [(true, now), (false, before.unwrap_or_default())] {
        for reading in readings.into_iter().filter(|r| ranking.is_said(r)) {
            let currency = is_money.then(|| SITES[recorded.site(reading)].2);
            let things = lists.entry(currency).or_default();
            let key = asked.key(recorded, reading).remove(0);
            let (now, before) = things.entry(key).or_default();
            if is_now {
                now.push(reading);
            } else {
                before.push(reading);
            }
        }
    }
    if lists.is_empty() {
        lists.insert(None, BTreeMap::new());
    }
    assert_eq!(
        told["lists"].as_array().unwrap().len(),
        lists.len(),
        "{variables}"
    );
    for list in told["lists"].as_array().unwrap() {
        let things = lists.remove(&list["currency"].as_str());
        let things = things.unwrap_or_else(|| panic!("{variables} has no {list}"));
        check(recorded, ranking, list, (&things, earlier.is_some()));
    }
}

fn check(
    recorded: &Recorded,
    ranking: &Ranking,
    list: &Value,
    (things, is_compared): (&Things<'_>, bool),
) {
    let variables = ranking.variables().to_string();
    let value = |of: &[&Reading]| ranking.value(recorded, of);
    let earlier = |of: &[&Reading]| value(of).filter(|_| is_compared);
    let all = |is_now: bool| -> Vec<&Reading> {
        let of = things
            .values()
            .map(|(now, before)| if is_now { now } else { before });
        of.flatten().copied().collect()
    };
    let whole = value(&all(true));
    assert_eq!(list["things"], things.len(), "{variables}");
    if whole.is_some_and(|whole| whole > 0.0) {
        near(&list["value"], whole, &variables);
    }
    let mut ranked: Vec<(Option<f64>, &String)> = things
        .iter()
        .map(|(name, (now, _))| (value(now), name))
        .collect();
    let sign = if ranking.is_highest_first { -1.0 } else { 1.0 };
    ranked.sort_by(|(left, a), (right, b)| {
        let of = |value: &Option<f64>| value.map_or(f64::INFINITY, |value| value * sign);
        of(left).total_cmp(&of(right)).then_with(|| a.cmp(b))
    });
    let rows = list["rows"].as_array().unwrap();
    let others = things.len().saturating_sub(ranking.top);
    let expected = things.len().min(ranking.top) + usize::from(others > 0);
    assert_eq!(rows.len(), expected, "{variables} {list}");
    for ((of, name), row) in ranked.iter().take(ranking.top).zip(rows) {
        assert_eq!(row["key"][0]["value"], **name, "{variables} {list}");
        let better = ranked.iter().position(|(other, _)| other == of).unwrap();
        assert_eq!(row["rank"], better + 1, "{variables} {list}");
        let (now, before) = &things[*name];
        numbers(row, (value(now), whole, earlier(before)), ranking);
    }
    if let Some(row) = rows.get(ranking.top) {
        let others: BTreeSet<&String> = ranked[ranking.top..]
            .iter()
            .map(|(_, name)| *name)
            .collect();
        let joined = |is_now: bool| -> Vec<&Reading> {
            let of = things.iter().filter(|(name, _)| others.contains(name));
            let of = of.map(|(_, (now, before))| if is_now { now } else { before });
            of.flatten().copied().collect()
        };
        assert_eq!(row["isOther"], true);
        assert_eq!(row["things"], others.len());
        assert_eq!((&row["rank"], &row["key"]), (&Value::Null, &json!([])));
        numbers(
            row,
            (value(&joined(true)), whole, earlier(&joined(false))),
            ranking,
        );
    }
}

/// Checks what a thing comes to.
fn numbers(
    row: &Value,
    (value, whole, earlier): (Option<f64>, Option<f64>, Option<f64>),
    ranking: &Ranking,
) {
    let what = ranking.variables().to_string();
    near(&row["value"], value, &what);
    near(&row["earlierValue"], earlier, &what);
    near(
        &row["change"],
        value.zip(earlier).map(|(value, earlier)| value - earlier),
        &what,
    );
    let share = value.zip(whole).map(|(value, whole)| value / whole);
    near(
        &row["share"],
        share.filter(|share| ranking.adds_up() && share.is_finite()),
        &what,
    );
}

#[tokio::test]
async fn a_ranking_is_what_a_count_over_the_events_comes_to() {
    for seed in seeds(2) {
        on_each_database(async |app| {
            let mut random = StdRng::seed_from_u64(seed);
            let recorded = record(app, &mut random).await;
            for _ in 0..60 {
                ask(app, &recorded, &Ranking::made_up(&mut random)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn equals_have_one_rank_and_what_fell_silent_is_told_with_zero() {
    on_each_database(async |app| {
        app.fleet().await;
        let error = |code: &str, day: i64, second: i64| {
            json!({ "errorLog": { "category": "DEVICE", "severity": "ERROR", "errorMessage": "x",
                "errorCode": code, "deviceId": "till-1",
                "occurredAt": format!("2026-11-{day}T10:00:{second:02}Z") } })
        };
        let today = [("B", 2), ("A", 2), ("C", 1)];
        let yesterday = [("A", 1), ("Z", 3)];
        let mut events = Vec::new();
        for (day, of) in [(22, today.as_slice()), (21, yesterday.as_slice())] {
            for (code, times) in of {
                events.extend((0..*times).map(|second| error(code, day, second)));
            }
        }
        app.record(json!(events)).await;
        let document = "{ breakdown(measures: [ERRORS], by: ERROR_CODE, from: \"2026-11-22T00:00:00Z\", \
            to: \"2026-11-23T00:00:00Z\", compareWith: PREVIOUS_PERIOD) { lists { things value earlierValue rows { \
            key { dimension value } rank value share earlierValue change changePercent } } } }";
        let data = app.data(document).await;
        let list = &data["breakdown"]["lists"][0];
        assert_eq!((&list["value"], &list["earlierValue"]), (&json!(5.0), &json!(4.0)));
        let rows = list["rows"].as_array().unwrap().iter();
        let rows: Vec<Value> = rows
            .map(|row| {
                let names = ["rank", "value", "share", "earlierValue", "change", "changePercent"];
                let mut told = vec![row["key"][0]["value"].clone()];
                told.extend(names.map(|name| row[name].clone()));
                json!(told)
            })
            .collect();
        assert_eq!(
            json!(rows),
            json!([
                ["A", 1, 2.0, 0.4, 1.0, 1.0, 100.0],
                ["B", 1, 2.0, 0.4, 0.0, 2.0, null],
                ["C", 3, 1.0, 0.2, 0.0, 1.0, null],
                ["Z", 4, 0.0, 0.0, 3.0, -3.0, -100.0]
            ])
        );
    })
    .await;
}
