//! What is asked for of an export, as it is kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::export::{Format, Readers};
use crate::identity::Reach;
use crate::kinds::{Audience, Kind};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ask {
    /// The sources, each with which of its events.
    pub sources: Vec<Source>,
    /// The first instant, by when it happened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// The first instant after the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// As what it is written, by the ending of such files.
    pub format: String,
    /// Whether it is compressed with gzip.
    #[serde(default)]
    pub gzip: bool,
    /// Whether it is for spreadsheets.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub spreadsheet: bool,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, that of its list.
    pub name: String,
    /// Which of its events, as the filter of its list.
    #[serde(skip_serializing_if = "serde_json::Value::is_null", default)]
    pub filter: serde_json::Value,
}

impl Source {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::all().find(|kind| kind.spec().list == self.name)
    }
}

impl Ask {
    /// As what it is written.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        Format::of_ending(self.format.as_ref())
    }

    /// Who reads it.
    #[must_use]
    pub const fn readers(&self) -> Readers {
        if self.spreadsheet {
            Readers::Spreadsheets
        } else {
            Readers::Programs
        }
    }

    /// The ending of the name of its file.
    #[must_use]
    pub fn ending(&self) -> String {
        let packed = if self.gzip { ".gz" } else { "" };
        format!("{}{packed}", self.format)
    }

    /// The media type of its file.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.format() {
            _ if self.gzip => "application/gzip",
            Some(Format::Jsonl) => "application/x-ndjson",
            Some(Format::Csv) => "text/csv; charset=utf-8; header=present",
            Some(Format::Parquet) => "application/vnd.apache.parquet",
            None => "application/octet-stream",
        }
    }

    /// How its file is called by whoever takes it.
    #[must_use]
    pub fn file_name(&self, export_id: &str) -> String {
        let what = match self.sources.as_slice() {
            [source] => source.name.as_str(),
            _ => "events",
        };
        format!("{what}-{export_id}.{}", self.ending())
    }

    /// Whether it has what administrators alone may read.
    #[must_use]
    pub fn is_for_administrators(&self) -> bool {
        let mut kinds = self.sources.iter().filter_map(Source::kind);
        kinds.any(|kind| kind.spec().audience == Audience::Administrators)
    }
}

/// What of the fleet somebody reached who asked, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reached {
    /// All of it.
    Whole,
    /// Some sites.
    Sites(Vec<String>),
    /// A device.
    Device(String),
}

impl From<&Reach> for Reached {
    fn from(reach: &Reach) -> Self {
        match reach {
            Reach::Whole => Self::Whole,
            Reach::Sites(sites) => Self::Sites(sites.iter().map(ToString::to_string).collect()),
            Reach::Device(device) => Self::Device(device.to_string()),
        }
    }
}

impl From<Reached> for Reach {
    fn from(reached: Reached) -> Self {
        match reached {
            Reached::Whole => Self::Whole,
            Reached::Sites(sites) => {
                let sites = sites.into_iter().map(Arc::from);
                Self::Sites(Arc::new(sites.collect()))
            }
            Reached::Device(device) => Self::Device(Arc::from(device)),
        }
    }
}

/// What somebody reaches, as a text that is the same for the same.
#[must_use]
pub fn reach_text(reach: &Reach) -> String {
    // a text can be written of it whatever it is
    serde_json::to_string(&Reached::from(reach)).unwrap_or_default()
}
