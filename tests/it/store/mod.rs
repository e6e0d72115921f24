//! The contract of the log, the same on SQLite and on PostgreSQL.

mod append;
mod backup;
mod bounds;
mod derived;
mod duplicates;
mod filters;
mod foreign;
mod overload;
mod reports;
mod tail;
mod values;
mod verify;
mod versions;
