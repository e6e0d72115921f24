//! An issuer of tokens, with keys that are made here.

use std::path::Path;

use homepot_analytics::event::Instant;
use homepot_analytics::identity::TokenArgs;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPrivateKey;
use serde_json::{Value, json};

use super::super::app::NOON;

/// A private key of P-256 in PKCS #8, but for its 32 bytes.
const EC: &str = "3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420";
/// One of Ed25519.
const ED: &str = "302e020100300506032b657004220420";

/// Somebody who signs tokens with one key.
pub(super) struct Issuer {
    kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

impl Issuer {
    pub(super) fn ec(kid: &str, seed: u8) -> Self {
        let key = EncodingKey::from_ec_der(&der(EC, seed));
        Self::new(kid, Algorithm::ES256, key)
    }

    pub(super) fn ed(kid: &str, seed: u8) -> Self {
        let key = EncodingKey::from_ed_der(&der(ED, seed));
        Self::new(kid, Algorithm::EdDSA, key)
    }

    pub(super) fn rsa(kid: &str) -> Self {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap();
        let key = EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes());
        Self::new(kid, Algorithm::RS256, key)
    }

    pub(super) fn secret(secret: &str) -> Self {
        let key = EncodingKey::from_secret(secret.as_bytes());
        Self::new("", Algorithm::HS256, key)
    }

    fn new(kid: &str, algorithm: Algorithm, key: EncodingKey) -> Self {
        Self {
            kid: kid.to_owned(),
            algorithm,
            key,
        }
    }

    /// The public key.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub(super) fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone()).filter(|kid| !kid.is_empty());
        header
    }

    /// A token with claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).unwrap()
    }
}

fn der(prefix: &str, seed: u8) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&prefix[at..at + 2], 16).unwrap();
    let mut der: Vec<u8> = (0..prefix.len()).step_by(2).map(byte).collect();
    der.extend([seed; 32]);
    der
}

/// The set of the public keys of some issuers.
pub(super) fn set(issuers: &[&Issuer]) -> String {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// What is asked of tokens that are proved by a set.
pub(super) fn by_set(named: &str) -> TokenArgs {
    TokenArgs {
        jwks: Some(named.to_owned()),
        jwt_issuer: Some("https://issuer.example".to_owned()),
        jwt_audience: Some("homepot".to_owned()),
        ..TokenArgs::default()
    }
}

/// What is asked of tokens that are proved by a set in a file, which is written.
pub(super) fn by_file(folder: &Path, issuers: &[&Issuer]) -> TokenArgs {
    let file = folder.join("keys.json");
    std::fs::write(&file, set(issuers)).unwrap();
    by_set(&file.display().to_string())
}

/// What is asked of tokens that are proved by a secret, which is written into a file.
pub(super) fn by_secret(folder: &Path, secret: &str) -> TokenArgs {
    let file = folder.join("secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    TokenArgs {
        jwt_secret_file: Some(file),
        ..TokenArgs::default()
    }
}

/// Claims that hold for five minutes, with others in their place; `null` leaves one out.
pub(super) fn claims(others: Value) -> Value {
    let mut claims = json!({ "sub": "ada", "iss": "https://issuer.example", "aud": "homepot",
        "exp": noon_seconds() + 300, "homepot": { "role": "VIEWER" } });
    let all = claims.as_object_mut().unwrap();
    let Value::Object(others) = others else {
        panic!("{others} are no claims");
    };
    all.extend(others);
    all.retain(|_, value| !value.is_null());
    claims
}

/// When the clock of a test stands, in seconds since 1970.
pub(super) fn noon_seconds() -> i64 {
    Instant::parse(NOON).unwrap().0 / 1_000_000
}
