//! How likely a device is to fail soon, how healthy it is, and how that will go on.
//!
//! `features::State` is folded from closed hours; `fleet::Fleet` sums the states up each night; `model::train` learns
//! from examples of the past (`learning`), and `succession` tries what it has learned; `answer::read`, `health::read` and
//! `forecast::read` answer. All are pure functions.

pub mod answer;
pub mod backtest;
pub mod band;
pub mod columns;
pub mod entries;
pub mod features;
pub mod fleet;
pub mod forecast;
pub mod health;
pub mod learning;
pub mod model;
pub mod newton;
pub mod points;
pub mod presence;
pub mod shut;
pub mod signs;
pub mod slope;
pub mod succession;
pub mod told;
pub mod track;
pub mod turns;
pub mod words;

#[cfg(test)]
mod tests;
