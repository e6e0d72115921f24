//! Origins of pages, as browsers name them (RFC 6454, section 6.2).

use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;
use thiserror::Error;

/// What is no origin.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OriginError {
    /// It stands for many.
    #[error("each origin is named; * is none")]
    Any,
    /// It is something else.
    #[error("it is not of the form of https://shop.example or http://localhost:3000")]
    Form,
    /// A browser names it otherwise.
    #[error("it is not as browsers name it, which is {0}")]
    Otherwise(String),
}

/// An origin, as browsers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Arc<str>);

impl Origin {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.contains('*') {
            return Err(OriginError::Any);
        }
        let url = Url::parse(text).map_err(|_| OriginError::Form)?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(OriginError::Form);
        }
        let named = url.origin().ascii_serialization();
        if named != text {
            return Err(OriginError::Otherwise(named));
        }
        Ok(Self(named.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_given_as_browsers_name_it() {
        for origin in [
            "https://shop.example",
            "http://localhost:3000",
            "http://[::1]:3000",
        ] {
            assert!(origin.parse::<Origin>().is_ok(), "{origin}");
        }
        let otherwise = |named: &str| OriginError::Otherwise(named.to_owned());
        for (origin, error) in [
            ("*", OriginError::Any),
            ("https://*.example", OriginError::Any),
            ("", OriginError::Form),
            ("null", OriginError::Form),
            ("shop.example", OriginError::Form),
            ("file:///tmp", OriginError::Form),
            ("https://shop.example/", otherwise("https://shop.example")),
            (
                "https://shop.example:443",
                otherwise("https://shop.example"),
            ),
            ("https://Shop.example/a", otherwise("https://shop.example")),
        ] {
            assert_eq!(origin.parse::<Origin>(), Err(error), "{origin}");
        }
    }
}
