//! The contract of the log, the same on SQLite and on PostgreSQL.

mod append;
mod derived;
mod duplicates;
mod foreign;
mod overload;
mod tail;
mod versions;
