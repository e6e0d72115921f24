//! HOMEPOT Analytics: an append-only store of what a fleet of payment terminals does, and a GraphQL
//! API that answers from it.
//!
//! # One page
//!
//! A **fact enters** by the one door, [`ingest`]: over GraphQL (`recordEvents`), as lines, from
//! pages and from exporters of OpenTelemetry ([`http`]), from a file ([`ingest::Import`]), from the
//! simulated fleet ([`demo`]), from this server about itself (its requests, its errors, the silence
//! of devices: [`health`]), or by a command of a person ([`registry`], [`jobs`], [`configuration`],
//! [`schedule`]). Whatever it is, it is one of the [`kinds`], which say once for each kind what its
//! fields, types, bounds and keys are. The door checks it, stamps it, and answers each event with
//! an outcome of its own.
//!
//! It **is kept** in the log, [`store`]: one task takes whatever waits and commits it as one batch.
//! The transaction locks the head, looks repeats up, gives positions 1, 2, 3 … without a hole,
//! inserts into one table for each kind, and folds what commands decide on (the registry,
//! configuration, schedules, jobs, alerts) and the states of devices. Everyone in the batch is answered after the
//! commit.
//!
//! It **comes out** three ways. [`graphql`] pages the tables by key, newest first as a rule, and
//! batches what is nested. Subscriptions follow the log with a tail: from the tables until it meets
//! the ring of newest events in memory, then from that; what many follow alike is executed once for
//! all. [`projections`] follow with the same tail and keep what is newest of each device, the
//! counts, and what is summed up by time, from which [`analytics`] answer what months come to; [`jobs`] follow with it too and end when their devices have; [`alerts`] follow with it
//! and open when a rule is met, and [`webhooks`] send what becomes of them elsewhere, and mail it.
//!
//! **What it means** is said by [`insights`], which are pure: readings with evidence of what happened until an instant.
//! A projection keeps a small state of each device for them, folded from hours that are over, so that what one costs
//! does not grow with history. [`held`] reads it, with what happened since, as of now or of any instant before, and what
//! it reads goes to whoever asks: [`graphql`], [`alerts`], [`jobs`]. What all devices come to is summed up each night, and
//! learned from ([`models`]). Errors that are one error are kept as groups, which [`error_groups`] reads and about which
//! people decide.
//!
//! **Several servers** may share a log on PostgreSQL ([`nodes`]). Each takes requests and follows the
//! log; what records or folds what follows from it is done by one at a time, under a lease, and what is
//! written for that passes a fence in its transaction. Queries may be read from a replica that has come
//! far enough.
//! **What is old** goes from its table into segments, files of Parquet ([`columnar`]) that the log reads as
//! one with its tables, by the policies of [`retention`]. What holds now is not made of it, or stays as it was made of it
//! when that is deleted for good.
//!
//! **What is taken out** is a file ([`export`]): by a command, for a data lake, or asked for over the API and
//! made by one server for all ([`exports`]), of what whoever asked reaches.
//!
//! **Who asks** is found out before anything else ([`identity`]): by an access key or a token of an
//! issuer of one's own, whose caller has a role and reaches the whole fleet, some sites or one
//! device. What is out of reach is as if it were not there, and every command and every refused key
//! is an event too.
//!
//! ```text
//!  GraphQL · lines · pages · OTLP · import · demo · requests · errors · health
//!                      │
//!                   ingest          check → stamp → outcome for each
//!                      │  bounded queue, OVERLOADED when full
//!                    store          one writer: a batch is a commit
//!              ┌───────┼──────────┐
//!           tables    ring     folds inside the append
//!              │       │
//!              └─ tail ┘ ── projections ── history
//!                  │                          │
//!            subscriptions ── graphql ── http ┘
//!                                │
//!                               held ── insights       of what projections keep and what came since
//! ```
//!
//! # What always holds
//!
//! 1. What was acknowledged is there after `kill -9` at any point; what was not is there wholly or
//!    not at all.
//! 2. Positions are exactly 1 … head over tables and segments, each once, in the order of commits; a batch that is rolled
//!    back leaves no hole.
//! 3. A retry stores once and is answered with the same position.
//! 4. Every reader sees the same sequence, whatever its pages, breaks and lost wake-ups; going on
//!    from a cursor neither repeats nor misses.
//! 5. A projection equals the fold of the log, after a crash anywhere; rebuilt it is the same. What is kept for insights
//!    is the same in whatever order events came, and nothing that is read as of an instant happened later.
//! 6. An event stands in its table or in one segment; an archive that is killed anywhere, also while it puts
//!    segments together, leaves it in exactly one place, and what is answered is the same before and after.
//! 7. Overload gives bounded memory and typed refusals; a slow follower slows no other.
//!
//! # What never happens
//!
//! - `entity` and `migration` know nothing of this crate.
//! - [`kinds`] do no I/O and read no clock.
//! - [`store`] does not know what any kind means.
//! - [`insights`] do no I/O, and [`held`] writes nothing.
//! - [`graphql`] begins no transaction.
//! - Nobody but [`ingest`], and the commands through it, appends.
//! - Nobody but [`config`] reads the environment, and nobody but [`clock`] the time.
//! - Nothing at the root of the schema is answered to whoever has no rule that allows it.
//! - What only one server may do is written through no handle but that of its lease.
//! - No state lives in statics.

pub mod agent;
pub mod alerts;
pub mod allocator;
pub mod analytics;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod columnar;
pub mod config;
pub mod configuration;
pub mod demo;
pub mod error_groups;
pub mod event;
pub mod export;
pub mod exports;
pub mod fleet;
pub mod graphql;
pub mod health;
pub mod held;
pub mod history;
pub mod http;
pub mod identity;
pub mod ingest;
pub mod insights;
pub mod jobs;
pub mod kinds;
pub mod models;
pub mod nodes;
pub mod places;
pub mod projections;
pub mod registry;
pub mod retention;
mod rollups;
pub mod schedule;
pub mod simulate;
pub mod store;
pub mod telemetry;
mod ticks;
mod timers;
pub mod webhooks;
mod works;
