//! Behaviour of the API as its clients see it: over HTTP and WebSocket, on each database.
#![expect(
    clippy::future_not_send,
    clippy::wildcard_enum_match_arm,
    reason = "a test runs on one thread, and what it does not name it treats alike"
)]

mod access;
mod activity;
mod activity_counts;
mod agents;
mod alert_ends;
mod alerts;
mod alike;
mod app;
mod bounds;
mod budget;
mod calendars;
mod collection;
mod commands;
mod conditions;
mod configuration;
mod deploy;
mod device_commands;
mod email;
mod error_group_news;
mod error_groups;
mod exports;
mod failures;
mod filters;
mod fleet;
mod hostile;
mod ingest;
mod inputs;
mod insights;
mod insights_cold;
mod insights_lists;
mod insights_nested;
mod insights_streams;
mod job_outcomes;
mod job_pages;
mod job_steps;
mod jobs;
mod models;
mod nodes;
mod old_states;
mod open_alerts;
mod origins;
mod otlp;
mod paging;
mod parts;
mod passed_over;
mod protocol;
mod proxies;
mod record;
mod registry;
mod requests;
mod retention;
mod rollouts;
mod roots;
mod rule_changes;
mod schedules;
mod schema;
mod selections;
mod series;
mod silence;
mod slow;
mod socket;
mod sockets;
mod sse;
mod statements;
mod states;
mod stop;
mod streams;
mod superseded;
mod tls;
mod webhooks;
mod windows;
