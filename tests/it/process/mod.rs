//! The program as people run it: a process with arguments, signals, files and sockets, that is
//! killed, told to stop, given damaged input, and databases that it cannot use.
#![expect(
    clippy::disallowed_methods,
    clippy::future_not_send,
    reason = "the tasks and settings of a test are its own, and it waits for them where it stands"
)]

mod address;
mod agent;
mod alerts;
mod api;
mod archive;
mod chaos;
mod cluster;
mod commands;
mod database;
mod demo;
mod doorbell;
mod exports;
mod full_disk;
mod import;
mod ingest;
mod jobs;
mod keys;
mod kill;
mod ledger;
mod logs;
mod malformed;
mod migrating;
mod nodes;
mod outbox;
mod program;
mod rebuild;
mod replica;
mod serving;
mod shutdown;
mod sources;
mod targets;
mod unusable;
mod workload;
