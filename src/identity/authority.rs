//! Finds out who asks.

use std::sync::Arc;

use thiserror::Error;

use super::{Caller, Denials, Keys, Secret, Tokens};
use crate::event::Instant;

/// Bytes at most of a credential.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// Why somebody was not let in. What is wrong with a key is told to nobody who tries keys: one that was
/// revoked is as unknown as one that never was. What is wrong with a token is told only of one that a
/// known key has signed, and never what is in it.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
pub enum SignInError {
    /// Nothing was given.
    #[error(
        "no credential was given; send an access key or a token as `Authorization: Bearer …`, on a \
         socket as `authorization` in the payload of connection_init"
    )]
    Missing,
    /// It is neither a key nor a token.
    #[error("the credential is of no known form; it is `Bearer` and an access key or a token")]
    Malformed,
    /// It is a key that does not hold.
    #[error("the access key does not hold: it is unknown, revoked or expired")]
    Key,
    /// It is a key for pages of other origins.
    #[error("the access key is not for whoever asks: it is bound to the pages of some origins")]
    Origin,
    /// It was proved, and is no more.
    #[error("the credential has expired or was revoked")]
    Ended,
    /// It is a token, and none are taken.
    #[error("tokens are not taken here; send an access key")]
    NoTokens,
    /// It is a token that nobody has signed who is known.
    #[error("the token does not hold: it is signed by no key that is known here")]
    Token,
    /// It is a token whose time is over.
    #[error("the token has expired")]
    Expired,
    /// It is a token whose time has not come.
    #[error("the token does not hold yet")]
    Early,
    /// It is a token of somebody else, or for somebody else.
    #[error("the token is of another issuer or for another audience")]
    Elsewhere,
    /// It is a token that does not say what its holder is, or not so that it can be given.
    #[error(
        "the claims of the token give nothing here: they are to have `sub`, `exp`, and `homepot` with a \
         role and what belongs to it"
    )]
    Claims,
}

/// From where somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// The network, if it is known.
    pub network: Option<&'a Arc<str>>,
    /// The origin of the page that asks, as its browser names it; `None` for whoever is no page.
    pub origin: Option<&'a str>,
}

/// Where it is found out who asks.
#[derive(Clone, Debug)]
pub enum Authority {
    /// Everybody is let in as the caller of this machine: where only this machine can ask.
    Open,
    /// Whoever has a key or a token.
    Closed {
        /// The keys.
        keys: Arc<Keys>,
        /// The tokens that are taken, if any are.
        tokens: Option<Arc<Tokens>>,
        /// Those who were refused.
        refused: Arc<Denials>,
    },
}

impl Authority {
    /// Whether a key is bound to the pages of an origin: these may send what they record.
    #[must_use]
    pub fn has_pages_of(&self, origin: &str, now: Instant) -> bool {
        match self {
            Self::Open => false,
            Self::Closed { keys, .. } => keys.has_pages_of(origin, now),
        }
    }

    /// Who gives a credential, and from where.
    ///
    /// # Errors
    /// When nobody is proved by it.
    pub fn caller(
        &self,
        credential: Option<&str>,
        from: Source<'_>,
        now: Instant,
    ) -> Result<Caller, SignInError> {
        let caller = match self {
            Self::Open => Ok(Caller::local()),
            Self::Closed {
                keys,
                tokens,
                refused,
            } => {
                let given = (credential, from.origin);
                let proved = proved(keys, tokens.as_deref(), given, now);
                // whoever says nothing yet tries nothing: a browser asks so first
                if let Err(why) = &proved
                    && *why != SignInError::Missing
                {
                    refused.sign_in(from.network.map(|network| &**network), why);
                }
                proved
            }
        };
        caller.map(|caller| Caller {
            account: account(&caller, from),
            network: from.network.map(Arc::clone),
            ..caller
        })
    }
}

/// Under which name what is spent is counted: one who reads a key in a page is not to spend what is for
/// all others who are shown it.
fn account(caller: &Caller, from: Source<'_>) -> Arc<str> {
    match from.network.filter(|_| caller.is_public) {
        Some(network) => Arc::from(format!("{} from {network}", caller.account)),
        None => Arc::clone(&caller.account),
    }
}

fn proved(
    keys: &Keys,
    tokens: Option<&Tokens>,
    (credential, origin): (Option<&str>, Option<&str>),
    now: Instant,
) -> Result<Caller, SignInError> {
    let credential = credential.ok_or(SignInError::Missing)?;
    if credential.len() > CREDENTIAL_BYTES_MAX {
        return Err(SignInError::Malformed);
    }
    let (scheme, given) = credential
        .trim()
        .split_once(' ')
        .ok_or(SignInError::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(SignInError::Malformed);
    }
    let given = given.trim();
    if !Secret::is_marked(given) && Tokens::is_one(given) {
        let tokens = tokens.ok_or(SignInError::NoTokens)?;
        return tokens.holder(given, now);
    }
    let key = Secret::read(given).ok_or(SignInError::Malformed)?;
    keys.holder(&key, origin, now)
}
