//! What a token says of its holder, and until when.
//!
//! It is read strictly: what is not understood gives nothing, and what is empty does not stand for
//! everything.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::super::{Grant, More, Role, SignInError};
use crate::event::Instant;

/// The claims of a token, as far as they count here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: String,
    #[serde(deserialize_with = "moment")]
    exp: Instant,
    #[serde(default, deserialize_with = "given_moment")]
    nbf: Option<Instant>,
    iss: Option<String>,
    aud: Option<Audience>,
    homepot: Granted,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Some(Vec<String>),
}

impl Audience {
    fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Some(some) => some.iter().any(|one| one == audience),
        }
    }
}

/// What the holder is given.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Granted {
    role: Role,
    #[serde(default, deserialize_with = "given")]
    site_ids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    device_id: Option<String>,
}

/// A claim that may be left out, but is no `null`.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

fn given_moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Instant>, D::Error> {
    moment(from).map(Some)
}

/// Seconds since 1970, which may have a fraction.
fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
    let seconds = f64::deserialize(from)?;
    let since = Duration::try_from_secs_f64(seconds).ok();
    let micros = since.and_then(|since| i64::try_from(since.as_micros()).ok());
    let moment = micros.map(Instant).filter(|at| *at <= Instant::NEWEST);
    moment.ok_or_else(|| serde::de::Error::custom("no moment"))
}

/// What is asked of every token.
#[derive(Debug)]
pub(super) struct Terms {
    /// Who must have issued it.
    pub(super) issuer: Option<String>,
    /// For whom it must be; for nobody who is named, when there is none.
    pub(super) audience: Option<String>,
    /// How far the clock of its issuer may be from ours.
    pub(super) leeway_ms: i64,
}

impl Terms {
    /// What a token gives that nobody has changed, and until when. Here alone is told how long it holds:
    /// from `nbf` to `exp`, and a while before and after.
    pub(super) fn grant(&self, json: &str, now: Instant) -> Result<Grant, SignInError> {
        let claims: Claims = serde_json::from_str(json).map_err(|_| SignInError::Claims)?;
        let is_issued = self.issuer.is_none() || self.issuer == claims.iss;
        let is_for_us = match (&self.audience, &claims.aud) {
            (Some(audience), Some(named)) => named.names(audience),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_issued || !is_for_us {
            return Err(SignInError::Elsewhere);
        }
        let ends = claims.exp.plus_ms(self.leeway_ms).min(Instant::NEWEST);
        if ends <= now {
            return Err(SignInError::Expired);
        }
        if claims
            .nbf
            .is_some_and(|from| from.plus_ms(-self.leeway_ms) > now)
        {
            return Err(SignInError::Early);
        }
        // without a site is not with all of them
        if claims.homepot.site_ids.as_ref().is_some_and(Vec::is_empty) {
            return Err(SignInError::Claims);
        }
        let grant = Grant {
            name: claims.sub,
            prefix: String::new(),
            role: claims.homepot.role,
            site_ids: claims.homepot.site_ids.unwrap_or_default(),
            device_id: claims.homepot.device_id,
            expires_at: Some(ends),
            more: More::default(),
        };
        grant.check(now).map_err(|_| SignInError::Claims)?;
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(claims: &str) -> Result<Grant, SignInError> {
        let terms = Terms {
            issuer: None,
            audience: None,
            leeway_ms: 60_000,
        };
        terms.grant(claims, Instant(1_000_000_000))
    }

    #[test]
    fn a_moment_is_a_number_of_seconds_that_can_be_told() {
        let with = |exp: &str| {
            granted(&format!(
                r#"{{"sub":"a","exp":{exp},"homepot":{{"role":"VIEWER"}}}}"#
            ))
        };
        assert_eq!(
            with("2000.5").unwrap().expires_at,
            Some(Instant(2_060_500_000))
        );
        assert_eq!(
            with("2000").unwrap().expires_at,
            Some(Instant(2_060_000_000))
        );
        assert_eq!(
            with("940.000001").unwrap().expires_at,
            Some(Instant(1_000_000_001))
        );
        assert_eq!(with("940").unwrap_err(), SignInError::Expired);
        for exp in ["-1", "1e300", "\"2000\"", "null", "253402300800", "[]"] {
            assert_eq!(with(exp).unwrap_err(), SignInError::Claims, "{exp}");
        }
    }

    #[test]
    fn what_is_given_twice_or_for_nothing_gives_nothing() {
        for homepot in [
            r#"{"role":"VIEWER","siteIds":[]}"#,
            r#"{"role":"VIEWER","siteIds":null}"#,
            r#"{"role":"VIEWER","deviceId":null}"#,
            r#"{"role":"VIEWER","role":"ADMIN"}"#,
            r#"{"role":"viewer"}"#,
            r#"{"role":"VIEWER","site_ids":["a"]}"#,
            r#"{"role":"VIEWER","name":"a"}"#,
            r"{}",
            r#""VIEWER""#,
        ] {
            let claims = format!(r#"{{"sub":"a","exp":2000,"homepot":{homepot}}}"#);
            assert_eq!(
                granted(&claims).unwrap_err(),
                SignInError::Claims,
                "{homepot}"
            );
        }
    }
}
