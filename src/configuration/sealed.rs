//! Seals secret values, so that they stand in the log and in its backups as nobody can read them, and
//! opens them for the device that is to have them.
//!
//! A value is sealed with AES-256-GCM under a nonce of its own. What it was set on and its parameter are
//! authenticated with it, so that one that is moved elsewhere does not open.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::history::configuration::SYSTEM;
use crate::history::parameters;
use crate::jobs::Command;
use crate::kinds::masked::{SEALED, has_sealed, is_sealed};
use crate::store::{Store, StoreError};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Keys at most.
const KEYS_MAX: usize = 16;
/// Bytes of the hash of a key by which it is known again.
const ID_BYTES: usize = 6;

/// Why values cannot be sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// There is no key.
    #[error(
        "this server has no key for sensitive parameters: start `serve` with --configuration-key-file"
    )]
    NoKey,
    /// The system gives no random bytes, or the value is too long.
    #[error("the value cannot be sealed")]
    Failed,
}

/// Why a text is no list of keys.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// One of them is no key. It is not shown.
    #[error("configuration key {ordinal} is not 32 bytes in Base64")]
    NotAKey {
        /// Which one, from 1.
        ordinal: usize,
    },
    /// There are too many.
    #[error("there are more than {KEYS_MAX} configuration keys")]
    TooMany,
}

/// What a value is sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// DEVICE, SITE or SYSTEM.
    pub entity_type: &'a str,
    /// Id of the device or site; `system` otherwise.
    pub entity_id: &'a str,
    /// The parameter.
    pub parameter: &'a str,
}

impl Place<'_> {
    fn of(&self) -> String {
        format!("{}/{}", self.entity_type, self.entity_id)
    }

    /// What is authenticated. The parts are told apart by their lengths.
    fn aad(&self) -> Vec<u8> {
        let of = self.of();
        format!("{}:{of}/{}", of.len(), self.parameter).into_bytes()
    }
}

struct Key {
    id: String,
    key: LessSafeKey,
}

/// The keys by which values are sealed and opened: the first seals, each opens what it has sealed.
#[derive(Default)]
pub struct Keyring(Vec<Key>);

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

impl Keyring {
    /// Reads keys, each 32 bytes in Base64, parted by commas or white space; the first seals.
    ///
    /// # Errors
    /// When one is no key, or there are too many.
    pub fn read(text: &str) -> Result<Self, KeyringError> {
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        let mut keys = Vec::new();
        for (ordinal, part) in (1..).zip(parts.filter(|part| !part.is_empty())) {
            let bytes = STANDARD.decode(part).ok();
            let bytes = bytes.filter(|bytes| bytes.len() == KEY_BYTES);
            let unbound = bytes
                .as_deref()
                .and_then(|bytes| UnboundKey::new(&AES_256_GCM, bytes).ok());
            let (Some(bytes), Some(unbound)) = (&bytes, unbound) else {
                return Err(KeyringError::NotAKey { ordinal });
            };
            let hash = Sha256::new()
                .chain_update("homepot configuration key")
                .chain_update(bytes)
                .finalize();
            let id = STANDARD.encode(hash.iter().take(ID_BYTES).copied().collect::<Vec<u8>>());
            let key = LessSafeKey::new(unbound);
            keys.push(Key { id, key });
        }
        if keys.len() > KEYS_MAX {
            return Err(KeyringError::TooMany);
        }
        Ok(Self(keys))
    }

    /// Warns whoever starts a server that has no key, where there are parameters that want one.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub(crate) async fn warn_without_key(&self, store: &Store) -> Result<(), StoreError> {
        if !self.0.is_empty() {
            return Ok(());
        }
        let sensitive = parameters::sensitive(store, None).await?;
        if !sensitive.is_empty() {
            tracing::warn!(
                parameters = sensitive.len(),
                "there are sensitive parameters, and this server has no key that opens them: devices are \
                 told the others alone; start `serve` with --configuration-key-file"
            );
        }
        Ok(())
    }

    /// A new key, as [`read`](Self::read) takes it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new_key() -> Result<String, SealError> {
        let mut bytes = [0; KEY_BYTES];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| SealError::Failed)?;
        Ok(STANDARD.encode(bytes))
    }

    /// Seals a value to a place.
    ///
    /// # Errors
    /// When there is no key, or the system gives no random bytes.
    pub fn seal(&self, value: &Json, place: Place<'_>) -> Result<Json, SealError> {
        let Key { id, key } = self.0.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        let filled = SystemRandom::new().fill(&mut nonce);
        filled.map_err(|_| SealError::Failed)?;
        let mut data = value.to_string().into_bytes();
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed = key.seal_in_place_append_tag(unique, Aad::from(place.aad()), &mut data);
        sealed.map_err(|_| SealError::Failed)?;
        let data = STANDARD.encode([&nonce[..], &data].concat());
        Ok(json!({ SEALED: { "key": id, "of": place.of(), "data": data } }))
    }

    /// Opens a value that was sealed to a parameter of one of some things; `None` when it was to none of
    /// them, was changed, or the key is not there any more. What is not sealed is itself.
    #[must_use]
    pub fn open(&self, value: &Json, parameter: &str, things: &[(&str, &str)]) -> Option<Json> {
        if !is_sealed(value) {
            return Some(value.clone());
        }
        let sealed = &value[SEALED];
        let places = things.iter().map(|(entity_type, entity_id)| Place {
            entity_type,
            entity_id,
            parameter,
        });
        let place = places
            .into_iter()
            .find(|place| sealed["of"] == place.of().as_str())?;
        let mut keys = self.0.iter();
        let Key { key, .. } = keys.find(|key| sealed["key"] == key.id.as_str())?;
        let data = STANDARD.decode(sealed["data"].as_str()?).ok()?;
        let (nonce, data) = data.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut data = data.to_vec();
        let opened = key.open_in_place(nonce, Aad::from(place.aad()), &mut data);
        serde_json::from_slice(opened.ok()?).ok()
    }
}

/// The payload of a command as its device is to have it: what is sealed to the device, its site or the system
/// is opened, and what does not open is left out.
pub(crate) fn opened(store: &Store, keyring: &Keyring, command: &Command, payload: Json) -> Json {
    if !has_sealed(&payload) {
        return payload;
    }
    let device = (command.id.device_id.as_str(), command.device_key);
    let parameters = parts(store, keyring, device, &payload);
    let opened = parameters.filter_map(|(name, value)| Some((name.clone(), value?)));
    json!({ "parameters": opened.collect::<Map<_, _>>() })
}

/// The parameters of a payload that its device is not told, since they do not open for it: the key is not
/// there, or they were sealed to a site at which it stands no more.
pub(super) fn unopened(
    store: &Store,
    keyring: &Keyring,
    device: (&str, i64),
    payload: &Json,
) -> Vec<String> {
    if !has_sealed(payload) {
        return Vec::new();
    }
    let parameters = parts(store, keyring, device, payload);
    let unopened = parameters.filter(|(_, value)| value.is_none());
    unopened.map(|(name, _)| name.clone()).collect()
}

/// The parameters of a payload as a device is told them; `None` of what does not open for it.
fn parts<'a>(
    store: &Store,
    keyring: &Keyring,
    (device_id, device_key): (&str, i64),
    payload: &'a Json,
) -> impl Iterator<Item = (&'a String, Option<Json>)> {
    let names = store.names();
    let site = names.site_of_device(device_key);
    let site = site.and_then(|key| names.id(key));
    let mut things = vec![("DEVICE", device_id), ("SYSTEM", SYSTEM)];
    things.extend(site.as_deref().map(|site| ("SITE", site)));
    let parameters = payload.get("parameters").and_then(Json::as_object);
    let parameters = parameters.into_iter().flatten();
    let opened = parameters.map(|(name, value)| (name, keyring.open(value, name, &things)));
    opened.collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        entity_type: "SITE",
        entity_id: "market",
        parameter: "wifi",
    };
    const HERE: [(&str, &str); 2] = [("DEVICE", "till-1"), ("SITE", "market")];

    fn keyring() -> Keyring {
        Keyring::read(&Keyring::new_key().unwrap()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_where_it_was_sealed_to_and_nowhere_else() {
        let keyring = keyring();
        let sealed = keyring.seal(&json!("hunter2"), PLACE).unwrap();
        assert!(!sealed.to_string().contains("hunter2"));
        let opened = |value: &Json, parameter: &str, things: &[(&str, &str)]| {
            keyring.open(value, parameter, things)
        };
        assert_eq!(opened(&sealed, "wifi", &HERE), Some(json!("hunter2")));
        assert_eq!(opened(&sealed, "other", &HERE), None);
        assert_eq!(opened(&sealed, "wifi", &[("SITE", "harbour")]), None);
        let mut moved = sealed.clone();
        moved[SEALED]["of"] = json!("SITE/harbour");
        assert_eq!(opened(&moved, "wifi", &[("SITE", "harbour")]), None);
        let mut cut = sealed;
        cut[SEALED]["data"] = json!("AAAA");
        assert_eq!(opened(&cut, "wifi", &HERE), None);
        assert_eq!(
            opened(&json!({ "a": 1 }), "wifi", &[]),
            Some(json!({ "a": 1 }))
        );
    }

    #[test]
    fn one_value_is_sealed_in_another_way_each_time() {
        let keyring = keyring();
        let seal = || keyring.seal(&json!(1), PLACE).unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn an_older_key_opens_what_it_has_sealed() {
        let (old, new) = (Keyring::new_key().unwrap(), Keyring::new_key().unwrap());
        let sealed = Keyring::read(&old).unwrap().seal(&json!(7), PLACE).unwrap();
        let both = Keyring::read(&format!("{new}\n{old}\n")).unwrap();
        assert_eq!(both.open(&sealed, "wifi", &HERE), Some(json!(7)));
        let again = both.seal(&json!(7), PLACE).unwrap();
        assert_eq!(
            Keyring::read(&old).unwrap().open(&again, "wifi", &HERE),
            None
        );
        assert_eq!(
            Keyring::read(&new).unwrap().open(&sealed, "wifi", &HERE),
            None
        );
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let told = Keyring::read("c2hvcnQ=").unwrap_err().to_string();
        assert_eq!(told, "configuration key 1 is not 32 bytes in Base64");
        let none = Keyring::read(" \n").unwrap();
        assert!(matches!(none.seal(&json!(1), PLACE), Err(SealError::NoKey)));
        assert_eq!(format!("{none:?}"), "[]");
    }
}
