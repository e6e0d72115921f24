//! `evaluate`: asks an insight of a file of events at given instants, and writes what it says as CSV.

mod questions;
mod rows;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, bail};
use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use self::questions::{questions, times_of};
use self::rows::{Output, Rows};
use super::bar;
use crate::clock::Clock;
use crate::event::{Fact, Instant, Provenance};
use crate::ingest::Parsed;
use crate::insights::impact::verdict::{Series, Verdict};
use crate::insights::input::{DAY, HOUR, Measure, SECOND};
use crate::insights::number::float;
use crate::insights::replay::{
    Answer, Asked, AskedChange, Reliable, Replayed, Unusual, Watched, Week, changes,
    changes_before, groups, impacts, measures, monday_of, provenances, recommended, replay, weeks,
};
use crate::insights::risk::forecast;
use crate::insights::risk::model::Horizon;
use crate::kinds::Kind;

/// Arguments of `evaluate`.
#[derive(Clone, Debug, Args)]
pub struct EvaluateArgs {
    /// Which insight.
    pub insight: Evaluated,
    /// A file of events as JSON lines, plain or gzip; may be repeated. It is read into memory, and no database is. What
    /// devices report must be of one provenance.
    #[arg(long = "import", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// When to ask: CSV with the columns `device` and `timestamp` (RFC 3339, or without a zone in UTC); others are
    /// left alone, and rows are answered in their order.
    #[arg(long, value_name = "FILE", conflicts_with = "every")]
    pub times: Option<PathBuf>,
    /// Without `--times`: ask each device so often, such as `15m`, `1h` or `1d`, from its first event to its last.
    /// By default `anomaly` is asked at each reading, `reliability` at the end, `configuration-impact` of each
    /// change 15 days after it (or at the end), and what else there is every hour.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub every: Option<i64>,
    /// How far ahead: `24h` (the default) or `72h` for `failure-risk`; `1d` (the default) to `14d` for `health-forecast`;
    /// any for `reliability`, which then tells how many failures are to be expected instead of the hours between two.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub horizon: Option<i64>,
    /// Which measure, such as `cpuPercent`: for `anomaly`, which needs it where devices report several, and for
    /// `configuration-impact`, which otherwise tells all.
    #[arg(long, value_parser = measure)]
    pub measure: Option<Measure>,
    /// `job-window`: in which weeks, as two dates (`2017-01-02..2017-04-03`), two ISO weeks (`2017-W01..2017-W14`) or
    /// two numbers counted from the first week of the events (`1..14`); the weeks of both are among them.
    #[arg(long, value_name = "FROM..TO")]
    pub weeks: Option<String>,
    /// The file to write; `-` is standard output. One that is there is replaced when all is answered.
    #[arg(long, default_value = "-")]
    pub out: PathBuf,
}

/// What can be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Evaluated {
    /// The probability that a device fails (changes to ERROR) within the horizon; 90 % interval.
    FailureRisk,
    /// The health of a device from 0 to 100; 90 % interval.
    Health,
    /// The health of a device on the day of the horizon; 90 % interval. Compare it with what `health` says then.
    HealthForecast,
    /// How unusual what a measure shows is, from 0 to 1; between `low` and `high` it was to be expected (90 %).
    Anomaly,
    /// Which errors are one error: columns `device`, `seq` and `group`.
    ErrorGroups,
    /// By what part of itself a measure changed with a change of the configuration (-0.1 is 10 % less); 95 % interval.
    ConfigurationImpact,
    /// Failures that a device is to have within the horizon (90 % interval), or without one the hours between two (95 %).
    Reliability,
    /// When a job of an hour is best run in a week (`timestamp`), and how many transactions are to be expected in that hour; 90 %
    /// interval.
    JobWindow,
}

fn measure(word: &str) -> Result<Measure, String> {
    let named = Measure::ALL.into_iter().find(|m| m.name() == word);
    named.ok_or_else(|| {
        let words = Measure::ALL.map(Measure::name).join(", ");
        format!("there is no such measure; there are {words}")
    })
}

/// Microseconds of a number with a unit.
fn duration(text: &str) -> Result<i64, String> {
    let wrong = || "give a whole number with a unit: s, m, h, d or w".to_owned();
    let split = text.len().checked_sub(1).ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(split).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let micros = number.checked_mul(seconds * SECOND).ok_or_else(wrong)?;
    if micros < 1 {
        return Err("give 1 at least".to_owned());
    }
    Ok(micros)
}

pub(super) async fn evaluate(arguments: &EvaluateArgs) -> anyhow::Result<()> {
    // before anything is read
    let out = Output::at(&arguments.out).await?;
    let facts = facts(&arguments.files)?;
    are_of_one_provenance(&facts)?;
    let mut rows = Rows::new();
    match arguments.insight {
        Evaluated::ErrorGroups => {
            rows.put(["device", "seq", "group"])?;
            for error in groups(&facts) {
                rows.put([&error.device, &error.seq.to_string(), &error.group])?;
            }
        }
        Evaluated::ConfigurationImpact => impact(arguments, &facts, &mut rows)?,
        Evaluated::JobWindow => windows(arguments, &facts, &mut rows)?,
        Evaluated::FailureRisk => {
            let horizon = match arguments.horizon {
                None | Some(DAY) => Horizon::Day,
                Some(horizon) if horizon == 3 * DAY => Horizon::ThreeDays,
                Some(_) => bail!("failure-risk has the horizons 24h and 72h"),
            };
            let mut watched = Watched::new(Asked::Risk(horizon));
            ask(arguments, &facts, &mut watched, &mut rows)?;
        }
        Evaluated::Health => {
            if arguments.horizon.is_some() {
                bail!("health is of now and has no horizon: ask health-forecast");
            }
            let mut watched = Watched::new(Asked::Health);
            ask(arguments, &facts, &mut watched, &mut rows)?;
        }
        Evaluated::HealthForecast => {
            let horizon = arguments.horizon.unwrap_or(DAY);
            let days = u8::try_from(horizon / DAY).unwrap_or(u8::MAX);
            if horizon % DAY != 0 || !(1..=forecast::DAYS).contains(&days) {
                bail!(
                    "health-forecast has the horizons 1d to {}d, in whole days",
                    forecast::DAYS
                );
            }
            let mut watched = Watched::new(Asked::Forecast(days));
            ask(arguments, &facts, &mut watched, &mut rows)?;
        }
        Evaluated::Anomaly => {
            let mut unusual = Unusual::new(the_measure(arguments, &facts)?);
            ask(arguments, &facts, &mut unusual, &mut rows)?;
        }
        Evaluated::Reliability => {
            let hours = arguments.horizon.map(hours);
            let mut reliable = Reliable::new(hours);
            ask(arguments, &facts, &mut reliable, &mut rows)?;
        }
    }
    rows.write(out)
}

fn hours(micros: i64) -> f64 {
    float(micros) / float(HOUR)
}

/// What the files say, each fact once.
fn facts(files: &[PathBuf]) -> anyhow::Result<Vec<Fact>> {
    let (mut parsed, clock) = (Parsed::default(), Clock::system());
    for file in files {
        let named = || format!("cannot read {}", file.display());
        let opened = File::open(file).with_context(named)?;
        let shown = bar(opened.metadata().ok().map(|m| m.len()), "read");
        let refused = parsed.read(shown.wrap_read(opened), &clock);
        let refused = refused.with_context(named)?;
        shown.finish_and_clear();
        if let Some((line, refusal)) = refused.first() {
            let (count, name) = (refused.len(), file.display());
            tracing::warn!(
                "{name}: {count} lines are left out; the first is line {line}: {}",
                refusal.message
            );
        }
    }
    if parsed.conflicts > 0 {
        let count = parsed.conflicts;
        tracing::warn!(
            "{count} lines are left out: earlier ones have their keys and say something else"
        );
    }
    if parsed.facts.is_empty() {
        bail!("there is no event in what was given");
    }
    Ok(parsed.facts)
}

/// Refuses what devices report in several provenances: it would be taken as if it were of one.
fn are_of_one_provenance(facts: &[Fact]) -> anyhow::Result<()> {
    let provenances = provenances(facts);
    if provenances.len() > 1 {
        let words: Vec<&str> = provenances.into_iter().map(Provenance::word).collect();
        bail!(
            "what devices report is of several provenances here ({}), which are never mixed: give the readings, errors \
             and states of one of them, and leave the lines of the others out",
            words.join(", ")
        );
    }
    Ok(())
}

/// Asks the questions, and puts a row for each.
fn ask(
    arguments: &EvaluateArgs,
    facts: &[Fact],
    replayed: &mut impl Replayed,
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let questions = questions(arguments, facts)?;
    rows.put(["device", "timestamp", "value", "low", "high", "status"])?;
    for (question, answer) in questions.iter().zip(replay(facts, &questions, replayed)) {
        let [value, low, high] = numbers(&answer);
        let (device, at) = (&question.device, &question.timestamp);
        rows.put([device, at, &value, &low, &high, answer.status.word()])?;
    }
    Ok(())
}

fn numbers(answer: &Answer) -> [String; 3] {
    let number = |number: Option<f64>| number.map(|n| n.to_string()).unwrap_or_default();
    [answer.value, answer.low, answer.high].map(number)
}

/// The measure that is asked for, or the one that there is.
fn the_measure(arguments: &EvaluateArgs, facts: &[Fact]) -> anyhow::Result<Measure> {
    if let Some(measure) = arguments.measure {
        return Ok(measure);
    }
    let reported: BTreeSet<Measure> = measures(facts);
    let mut measures = reported.iter();
    match (measures.next(), measures.next()) {
        (Some(measure), None) => Ok(*measure),
        (None, _) => bail!("no device reports any measure"),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = reported.iter().map(|measure| measure.name()).collect();
            bail!("say with --measure which it is of {}", names.join(", "))
        }
    }
}

fn impact(arguments: &EvaluateArgs, facts: &[Fact], rows: &mut Rows) -> anyhow::Result<()> {
    let (asked, timestamps): (Vec<Option<AskedChange>>, Vec<(String, String)>) =
        if let Some(times) = &arguments.times {
            let questions = times_of(times, facts)?;
            let times: Vec<(String, Instant)> =
                questions.iter().map(|q| (q.device.clone(), q.at)).collect();
            let told = questions.into_iter().map(|q| (q.device, q.timestamp));
            (changes_before(facts, &times), told.collect())
        } else {
            let changes = changes(facts);
            let told = changes
                .iter()
                .map(|c| (c.device.clone(), c.change.at.to_string()));
            let told = told.collect();
            (changes.into_iter().map(Some).collect(), told)
        };
    rows.put([
        "device",
        "timestamp",
        "value",
        "low",
        "high",
        "status",
        "measure",
        "parameter",
        "verdict",
    ])?;
    let known: Vec<AskedChange> = asked.iter().flatten().cloned().collect();
    let mut impacts = impacts(facts, &known).into_iter();
    for (asked, (device, timestamp)) in asked.into_iter().zip(timestamps) {
        let impact = asked.as_ref().and_then(|_| impacts.next().flatten());
        let parameter = asked
            .map(|asked| asked.change.parameter)
            .unwrap_or_default();
        let effects = impact.map(|impact| impact.effects).unwrap_or_default();
        let wanted = |series: Series| match arguments.measure {
            Some(measure) => series == Series::Measure(measure),
            None => true,
        };
        let mut is_told = false;
        for effect in effects.iter().filter(|effect| wanted(effect.series)) {
            let answer = Answer::of(&effect.insight);
            let [value, low, high] = numbers(&answer);
            let verdict = effect.verdict.map_or("", Verdict::word);
            let (status, name) = (answer.status.word(), effect.series.name());
            let (device, timestamp, parameter) = (&device, &timestamp, &parameter);
            rows.put([
                device, timestamp, &value, &low, &high, status, name, parameter, verdict,
            ])?;
            is_told = true;
        }
        if !is_told {
            let name = arguments.measure.map_or("", Measure::name);
            let status = Answer::UNKNOWN.status.word();
            rows.put([
                &device, &timestamp, "", "", "", status, name, &parameter, "",
            ])?;
        }
    }
    Ok(())
}

fn windows(arguments: &EvaluateArgs, facts: &[Fact], rows: &mut Rows) -> anyhow::Result<()> {
    let asked = if let Some(times) = &arguments.times {
        let questions = times_of(times, facts)?.into_iter();
        let weeks = questions.map(|q| Week {
            device: q.device,
            at: q.at,
        });
        weeks.collect()
    } else {
        weeks(facts, week_dates(arguments.weeks.as_deref(), facts)?)
    };
    rows.put([
        "device",
        "timestamp",
        "value",
        "low",
        "high",
        "status",
        "asOf",
    ])?;
    for (week, recommended) in asked.iter().zip(recommended(facts, &asked)) {
        let best = recommended.as_ref().and_then(|r| r.best.as_ref());
        let start = best.map_or_else(String::new, |window| window.start.to_string());
        let answer = recommended.as_ref().map(|r| Answer::of(&r.insight));
        let answer = answer.unwrap_or(Answer::UNKNOWN);
        let [value, low, high] = numbers(&answer);
        let (status, as_of) = (answer.status.word(), week.at.to_string());
        rows.put([&week.device, &start, &value, &low, &high, status, &as_of])?;
    }
    Ok(())
}

/// The Mondays of the first and of the last week.
fn week_dates(text: Option<&str>, facts: &[Fact]) -> anyhow::Result<(NaiveDate, NaiveDate)> {
    let readings = facts.iter().filter(|fact| fact.kind == Kind::DeviceMetrics);
    let times = readings.map(|fact| fact.occurred_at);
    let (first, last) = (times.clone().min(), times.max());
    let date = |at: Option<Instant>| at.unwrap_or_default().date_time().date_naive();
    let (first, last) = (monday_of(date(first)), monday_of(date(last)));
    let Some(text) = text else {
        // nothing is known in the first week
        return Ok((next_week(first, 1), last));
    };
    let wrong = || {
        "give --weeks as two dates, two ISO weeks or two numbers, such as 2017-W01..2017-W14"
            .to_owned()
    };
    let (from, to) = text.split_once("..").with_context(wrong)?;
    let week = |text: &str| {
        if let Ok(number) = text.parse::<u64>() {
            return Some(next_week(first, number.checked_sub(1)?));
        }
        if let Some((year, week)) = text.split_once("-W") {
            let (year, week) = (year.parse().ok()?, week.parse().ok()?);
            return NaiveDate::from_isoywd_opt(year, week, chrono::Weekday::Mon);
        }
        text.parse().ok().map(monday_of)
    };
    let (from, to) = week(from).zip(week(to)).with_context(wrong)?;
    if to < from {
        bail!("the weeks end before they begin");
    }
    Ok((from, to))
}

fn next_week(monday: NaiveDate, weeks: u64) -> NaiveDate {
    let days = chrono::Days::new(weeks.saturating_mul(7));
    monday.checked_add_days(days).unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::{Value as Json, json};

    use super::*;

    fn told(events: &[Json]) -> Vec<Fact> {
        let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
        let mut parsed = Parsed::default();
        let refused = parsed.read(Cursor::new(lines.concat()), &Clock::system());
        assert!(refused.unwrap().is_empty());
        parsed.facts
    }

    #[test]
    fn what_devices_report_in_two_provenances_is_refused_and_what_people_do_is_not() {
        let reading = |minute: u8, provenance: &str| {
            json!({ "deviceMetrics": { "deviceId": "till", "cpuPercent": 5, "provenance": provenance,
                "occurredAt": format!("2026-01-01T10:{minute:02}:00Z") } })
        };
        let registered = json!({ "deviceRegistration": { "deviceId": "till", "siteId": "shop",
            "deviceType": "POS_TERMINAL", "occurredAt": "2026-01-01T00:00:00Z" } });
        let changed = json!({ "configurationChange": { "entityType": "DEVICE", "entityId": "till",
            "parameterName": "volume", "newValue": 7, "changedBy": "me", "occurredAt": "2026-01-01T09:00:00Z" } });
        let mut events = vec![registered, changed];
        events.extend([reading(1, "SIMULATED"), reading(2, "SIMULATED")]);
        are_of_one_provenance(&told(&events)).unwrap();
        events.push(reading(3, "REAL"));
        let refused = are_of_one_provenance(&told(&events))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("(REAL, SIMULATED)"), "{refused}");
    }
}
