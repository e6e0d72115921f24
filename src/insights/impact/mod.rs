//! What a configuration change did, and where a measure is going.
//!
//! `daily` makes daily levels of hourly rollups; `effect` compares those of a device before and after a
//! change with those of devices that were not changed (by `posterior`, or by `rate` where there are
//! few events); `verdict` says what that means; `change` answers for all measures of a device, `whole` for all of them as one; `trend`
//! tells the slope of a measure. All of it is pure: no clock, no chance, no input or output.

mod answer;
pub mod change;
pub mod daily;
pub mod effect;
pub mod posterior;
pub mod rate;
pub mod trend;
pub mod verdict;
pub mod whole;
