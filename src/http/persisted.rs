//! Documents that are known: by a name, which clients send in place of the text, or as they are parsed.
//!
//! Automatic ones are known by the SHA-256 of their text, from the first request that brings both
//! (extension `persistedQuery`, as Apollo Client speaks it). Registered ones are given to the server
//! in a file; where there is one, no other document is executed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use async_graphql::parser::types::ExecutableDocument;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::halves::Halves;
use super::prepared;
use crate::graphql::bulk::{Body, PersistedQuery};
use crate::graphql::{ErrorCode, Rehearsal};

/// Automatic documents at most in each half of those that are remembered: when the younger half is
/// full, the older is forgotten.
const HALF_MAX: usize = 500;
/// Bytes at most of an automatic document.
const DOCUMENT_BYTES_MAX: usize = 32 * 1024;

/// Documents at most in each half of those that are remembered as they are parsed, and bytes at most of one:
/// a parsed one takes many times the memory of its text.
const PARSED_HALF_MAX: usize = 64;
const PARSED_BYTES_MAX: usize = 1024;

/// The documents that are known, by a name or as they are parsed.
#[derive(Clone, Debug)]
pub struct Documents {
    /// Those that alone are executed, by their names; `None` when others are too.
    registered: Option<Arc<HashMap<String, Arc<str>>>>,
    automatic: Arc<Mutex<Halves<[u8; 32], Arc<str>>>>,
    parsed: Arc<Mutex<Halves<Box<str>, Arc<ExecutableDocument>>>>,
}

impl Default for Documents {
    fn default() -> Self {
        Self {
            registered: None,
            automatic: Arc::new(Mutex::new(Halves::new(HALF_MAX))),
            parsed: Arc::new(Mutex::new(Halves::new(PARSED_HALF_MAX))),
        }
    }
}

/// Why a request has no document.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Undocumented {
    /// It has none, and no name of one.
    #[error("the request has no document: give `query`")]
    Missing,
    /// Nobody has brought it yet; the message is what clients look for.
    #[error("PersistedQueryNotFound")]
    NotFound,
    /// The name is not that of the text.
    #[error("the sha256Hash is not that of the document")]
    OtherHash,
    /// The name is none.
    #[error("the extension persistedQuery has version 1 and a sha256Hash of 64 hexadecimal digits")]
    NoHash,
    /// Only registered documents are executed.
    #[error("only registered documents are executed here, and this is none of them")]
    Unregistered,
}

impl Undocumented {
    pub(super) const fn code(&self) -> ErrorCode {
        match self {
            Self::Missing | Self::NoHash | Self::OtherHash => ErrorCode::BadRequest,
            Self::NotFound => ErrorCode::PersistedQueryNotFound,
            Self::Unregistered => ErrorCode::Forbidden,
        }
    }
}

impl Documents {
    /// The documents of a file: a JSON object from names to texts, as code generators write it.
    ///
    /// # Errors
    /// When the file cannot be read, is no such object, or has a document that can never be executed.
    pub async fn registered(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        let registered: HashMap<String, Arc<str>> = serde_json::from_slice(&text)
            .with_context(|| format!("{shown} is no JSON object of names and documents"))?;
        if let Some(fault) = fault(&registered).await {
            bail!("{shown}: {fault}");
        }
        Ok(Self {
            registered: Some(Arc::new(registered)),
            ..Self::default()
        })
    }

    /// The document of a request.
    pub(super) fn of<'a>(&self, body: &'a Body<'_>) -> Result<Document<'a>, Undocumented> {
        let text = body.query.as_deref();
        if let Some(registered) = &self.registered {
            let hash = || Some(extension(body)?.sha256_hash.as_str());
            let named = body.document_id.as_deref().or_else(hash);
            let found = named.and_then(|name| registered.get(name));
            let is_text = |known: &&Arc<str>| text == Some(known.as_ref());
            let found = found.or_else(|| registered.values().find(is_text));
            let found = found.ok_or(Undocumented::Unregistered)?;
            return Ok(Document::Known(Arc::clone(found)));
        }
        let Some(persisted) = extension(body) else {
            return text.map(Document::Given).ok_or(Undocumented::Missing);
        };
        let hash = digest(&persisted.sha256_hash).filter(|_| persisted.version == 1);
        let hash = hash.ok_or(Undocumented::NoHash)?;
        let mut automatic = self
            .automatic
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            let known = automatic.get(&hash).ok_or(Undocumented::NotFound)?;
            return Ok(Document::Known(known));
        };
        if <[u8; 32]>::from(Sha256::digest(text)) != hash {
            return Err(Undocumented::OtherHash);
        }
        if text.len() <= DOCUMENT_BYTES_MAX {
            automatic.add(hash, Arc::from(text));
        }
        Ok(Document::Given(text))
    }

    /// A document as it is parsed, if it was before. A fleet of devices sends the same ones over and over.
    /// (Measured on commands of 10,000 devices: to parse them took 8 % of the processors.)
    pub(super) fn parsed<E>(
        &self,
        text: &str,
        parse: impl FnOnce() -> Result<ExecutableDocument, E>,
    ) -> Result<ExecutableDocument, E> {
        if text.len() > PARSED_BYTES_MAX {
            return parse();
        }
        let parsed = || self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parsed().get(text);
        if let Some(known) = known {
            return Ok(known.as_ref().clone());
        }
        let document = parse()?;
        parsed().add(Box::from(text), Arc::new(document.clone()));
        Ok(document)
    }
}

/// A document, as it came or as it is known.
#[derive(Debug)]
pub(super) enum Document<'a> {
    /// It came with the request.
    Given(&'a str),
    /// The request named it.
    Known(Arc<str>),
}

impl Document<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Known(text) => text,
        }
    }
}

/// Which of some documents can never be executed, and why: that which is the first in the order of the names.
async fn fault(documents: &HashMap<String, Arc<str>>) -> Option<String> {
    let rehearsal = Rehearsal::default();
    let mut faults = BTreeMap::new();
    for (name, text) in documents {
        if let Err(why) = rehearsed(&rehearsal, text).await {
            faults.insert(name, why);
        }
    }
    let (name, why) = faults.pop_first()?;
    let others = match faults.len() {
        0 => String::new(),
        others => format!(" (nor can {others} others)"),
    };
    Some(format!(
        "the document {name:?} can never be executed: {why}{others}"
    ))
}

async fn rehearsed(rehearsal: &Rehearsal, text: &str) -> Result<(), String> {
    let document = prepared::parsed(text).map_err(|refused| {
        let errors = refused.errors.into_iter();
        errors.map(|error| error.message).collect::<String>()
    })?;
    let rehearsed = rehearsal.of(&document).await;
    rehearsed.map_err(|error| match error.locations.first() {
        Some(place) => format!("{}, at {}:{}", error.message, place.line, place.column),
        None => error.message,
    })
}

fn extension<'a>(body: &'a Body<'_>) -> Option<&'a PersistedQuery> {
    body.extensions.as_ref()?.persisted_query.as_ref()
}

/// The bytes of 64 hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        let digits = text.get(2 * index..2 * index + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(query: &str, extensions: &Value) -> Body<'static> {
        let text = json!({ "query": query, "extensions": extensions }).to_string();
        serde_json::from_str(Box::leak(text.into_boxed_str())).unwrap()
    }

    fn of(documents: &Documents, query: &str, hash: &str) -> Result<String, Undocumented> {
        let named = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
        let body = body(query, &named);
        documents
            .of(&body)
            .map(|document| document.text().to_owned())
    }

    fn hash(query: &str) -> String {
        use std::fmt::Write as _;
        let mut hash = String::new();
        for byte in Sha256::digest(query) {
            write!(hash, "{byte:02x}").unwrap();
        }
        hash
    }

    #[test]
    fn a_document_is_known_by_its_hash_from_the_request_that_brings_both() {
        let documents = Documents::default();
        let query = "{ a }";
        let name = hash(query);
        assert_eq!(of(&documents, "", &name), Err(Undocumented::NotFound));
        assert_eq!(of(&documents, "{ b }", &name), Err(Undocumented::OtherHash));
        assert_eq!(of(&documents, "", &name), Err(Undocumented::NotFound));
        assert_eq!(of(&documents, query, &name).unwrap(), query);
        assert_eq!(of(&documents, "", &name).unwrap(), query);
        assert_eq!(of(&documents, "", "xyz"), Err(Undocumented::NoHash));
        let none: Body<'_> = serde_json::from_str("{}").unwrap();
        let missing = documents.of(&none).map(|_| ());
        assert_eq!(missing, Err(Undocumented::Missing));
    }

    #[test]
    fn of_many_documents_those_that_are_used_are_remembered() {
        let documents = Documents::default();
        let query = |n: usize| format!("{{ a{n} }}");
        for n in 0..4 * HALF_MAX {
            let text = query(n);
            of(&documents, &text, &hash(&text)).unwrap();
            assert!(of(&documents, "", &hash(&query(0))).is_ok(), "{n}");
        }
        assert!(of(&documents, "", &hash(&query(1))).is_err());
        let automatic = documents.automatic.lock().unwrap();
        assert!(automatic.len() <= 2 * HALF_MAX);
    }

    #[test]
    fn a_document_is_parsed_once_and_one_that_is_malformed_each_time() {
        use async_graphql::parser::parse_query;
        let documents = Documents::default();
        let parsed = |text: &str, expected: bool| {
            let mut asked = false;
            let parsed = documents.parsed(text, || {
                asked = true;
                parse_query(text)
            });
            assert_eq!(asked, expected, "{text}");
            parsed.is_ok()
        };
        assert!(parsed("{ a }", true) && parsed("{ a }", false));
        assert!(!parsed("{ a", true) && !parsed("{ a", true));
        let large = format!("{{ a {} }}", " ".repeat(PARSED_BYTES_MAX));
        assert!(parsed(&large, true) && parsed(&large, true));
    }

    const KNOWN: &str = "query($first: Int!) { devices(first: $first) { totalCount } }";

    /// What a file with a document comes to.
    async fn registered(text: &str) -> Result<Documents, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("documents.json");
        let written = json!({ "one": text, "two": "{ __typename }" }).to_string();
        std::fs::write(&file, written).unwrap();
        let registered = Documents::registered(&file).await;
        registered.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn where_documents_are_registered_no_other_is_executed() {
        let documents = registered(KNOWN).await.unwrap();
        let text = |body: &Body<'_>| {
            documents
                .of(body)
                .map(|document| document.text().to_owned())
        };
        assert_eq!(text(&body(KNOWN, &json!({}))).unwrap(), KNOWN);
        assert_eq!(
            text(&body("{ viewer { name } }", &json!({}))),
            Err(Undocumented::Unregistered)
        );
        assert_eq!(of(&documents, "", "one").unwrap(), KNOWN);
        let by_name = Body {
            document_id: Some("one".to_owned()),
            ..body("", &json!({}))
        };
        assert_eq!(text(&by_name).unwrap(), KNOWN);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("documents.json");
        std::fs::write(&file, "[]").unwrap();
        assert!(Documents::registered(&file).await.is_err());
    }

    #[tokio::test]
    async fn a_document_that_can_never_be_executed_is_named_with_why() {
        let brackets = format!("{{ a(b: {}1) }}", "[".repeat(200));
        for (text, why) in [
            ("{ devices", ", at 1:"),
            ("{ nothing }", "Unknown field \"nothing\" on type \"Query\""),
            ("{ devices(first: \"ten\") { totalCount } }", "Int"),
            ("{ devices(first: $n) { totalCount } }", "$n"),
            ("query A { __typename } query B { none }", "none"),
            ("query($x: Nothing) { devices { totalCount } }", "Nothing"),
            (
                "{ devices(first: 1000) { nodes { errorLogs(first: 1000) { nodes { id } } } } }",
                "rows",
            ),
            (
                "subscription { errorLogs { id } deviceMetrics { id } }",
                "one root field",
            ),
            (brackets.as_str(), "brackets"),
        ] {
            let told = registered(text).await.unwrap_err();
            let named = told.contains(": the document \"one\" can never be executed: ");
            assert!(named && told.contains(why), "{text}: {told}");
        }
        // what is too much by a variable alone may be asked for with another
        let by_variable = "query($n: Int = 1000) { devices(first: $n) { nodes { \
            errorLogs(first: $n) { nodes { id } } } } }";
        assert!(registered(by_variable).await.is_ok());
    }
}
