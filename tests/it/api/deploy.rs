//! The examples for whoever runs servers speak of what there is: metrics, sections, flags.

use std::collections::BTreeSet;
use std::path::Path;

use homepot_analytics::clock::Clock;
use homepot_analytics::config::{Cli, LimitArgs};
use homepot_analytics::event::Instant;

use super::app::{NOON, start};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The words of a text that begin so.
fn words<'t>(text: &'t str, begin: &str) -> BTreeSet<&'t str> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_of_word(c))
        .filter(|word| word.len() > begin.len() && word.starts_with(begin))
        .collect()
}

#[tokio::test]
async fn alert_rules_and_pages_name_metrics_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("log.db").display());
    let clock = Clock::by_hand(Instant::parse(NOON).unwrap());
    let app = start(&url, clock).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = client.get(format!("http://{}/metrics", app.address)).send();
    let told = asked.await.unwrap().text().await.unwrap();
    let there: BTreeSet<&str> = told
        .lines()
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for page in ["alerts.yml", "runbook.md", "capacity.md", "../README.md"] {
        let text = example(page);
        for name in words(&text, "homepot_") {
            if name == "homepot_analytics" {
                continue;
            }
            let is_there = there.contains(name) || there.contains(&*format!("{name}_bucket"));
            assert!(is_there, "{page} names {name}, which is no metric: {told}");
        }
    }
    let rules = example("alerts.yml");
    for label in ["source=\"", "work=\""] {
        let named = rules.split(label).skip(1);
        for name in named.filter_map(|rest| rest.split('"').next()) {
            let labelled = format!("{{{label}{name}\"}}");
            assert!(told.contains(&labelled), "there is no {labelled}: {told}");
        }
    }
    app.stop().await;
}

#[test]
fn the_page_of_capacities_tells_the_limits_that_there_are() {
    let text = example("capacity.md");
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    let limits = LimitArgs::default();
    let places = [
        (limits.sockets_max, "streams and sockets"),
        (limits.connections_max, "connections"),
    ];
    for (places, what) in places {
        let (thousands, rest) = (places / 1_000, places % 1_000);
        let told = format!("for {thousands},{rest:03} {what}");
        assert!(text.contains(&told), "{told}");
    }
}

/// The anchor of a heading as web pages of repositories make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ');
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_alert_rule_names_a_section_of_the_runbook() {
    let (rules, runbook) = (example("alerts.yml"), example("runbook.md"));
    let sections: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(anchor)
        .collect();
    let alerts = rules.matches("- alert:").count();
    let named: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: runbook.md#"))
        .collect();
    assert_eq!(named.len(), alerts, "each has one");
    for name in named {
        assert!(sections.contains(name), "the runbook has no {name}");
    }
}

#[test]
fn the_examples_start_the_server_with_flags_and_variables_that_it_has() {
    let unit = example("homepot-analytics.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let mut arguments: Vec<std::ffi::OsString> =
        start.unwrap().split(' ').map(Into::into).collect();
    arguments.extend(["--listen", "127.0.0.1:0"].map(Into::into));
    Cli::read(&arguments).unwrap();
    let help = Cli::read(&["homepot-analytics", "serve", "--help"].map(Into::into)).unwrap_err();
    let help = help.to_string();
    for page in [
        "compose.yaml",
        "homepot-analytics.service",
        "runbook.md",
        "capacity.md",
    ] {
        let text = example(page);
        for name in words(&text, "HOMEPOT_") {
            assert!(help.contains(&format!("[env: {name}")), "{page}: {name}");
        }
        for flag in text.split(['`', ' ', '(', ')', ',', '"']) {
            let is_flag = flag
                .strip_prefix("--")
                .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
            let is_ours = page.strip_suffix(".md").is_some() && is_flag;
            assert!(!is_ours || help.contains(flag), "{page}: {flag}");
        }
    }
}
