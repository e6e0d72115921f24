//! Places of files on the command line: folders, and buckets that are reached by the variables `AWS_…` of the
//! environment.

use crate::places::Place;
use crate::telemetry::chain;

/// Reads a place. What is wrong with it is told for people.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let settings = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        name.starts_with("AWS_").then_some((name, value))
    });
    Place::of(text, settings).map_err(|error| chain(&error).to_string())
}
