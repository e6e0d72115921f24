//! Sets of public keys (JSON Web Key Sets, RFC 7517): which keys of one prove tokens, and by which
//! algorithm.
//!
//! A key proves by one algorithm alone, that of its type: what a token says of itself chooses among
//! keys, and never how a key is used. Keys for other ends, of other types, or too weak are left out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Keys at most that are taken from a set.
const KEYS_MAX: usize = 100;
/// Bytes of the modulus of an RSA key: 2048 to 4096 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// Bytes of a coordinate of P-256, and of a key of Ed25519.
const POINT_BYTES: usize = 32;

/// A key that proves tokens.
#[derive(Clone, Debug)]
pub(super) struct VerifyingKey {
    /// By which tokens name it.
    pub(super) kid: Option<String>,
    /// By which alone it proves.
    pub(super) algorithm: Algorithm,
    /// The key itself.
    pub(super) key: DecodingKey,
    /// Told when it proves no more.
    pub(super) withdrawn: CancellationToken,
    /// As it was given, to know it again.
    given: Value,
}

#[derive(Deserialize)]
struct Given {
    keys: Vec<Value>,
}

/// The keys of a set that prove tokens.
///
/// # Errors
/// When it is no set.
pub(super) fn keys(text: &[u8]) -> Result<Vec<VerifyingKey>, serde_json::Error> {
    let set: Given = serde_json::from_slice(text)?;
    let keys = set.keys.into_iter().filter_map(key);
    Ok(keys.take(KEYS_MAX).collect())
}

/// New keys in the place of old ones: one that is there still goes on, and one that is not is withdrawn.
pub(super) fn replaced(old: &[VerifyingKey], new: Vec<VerifyingKey>) -> Vec<VerifyingKey> {
    let as_before = |key: VerifyingKey| {
        let before = old.iter().find(|before| before.given == key.given);
        before.cloned().unwrap_or(key)
    };
    let new: Vec<VerifyingKey> = new.into_iter().map(as_before).collect();
    for key in old {
        if !new.iter().any(|new| new.given == key.given) {
            key.withdrawn.cancel();
        }
    }
    new
}

fn key(given: Value) -> Option<VerifyingKey> {
    let jwk = Jwk::deserialize(&given).ok()?;
    let common = &jwk.common;
    let is_for_tokens = common
        .public_key_use
        .as_ref()
        .is_none_or(|of| *of == PublicKeyUse::Signature)
        && common
            .key_operations
            .as_ref()
            .is_none_or(|all| all.contains(&KeyOperations::Verify));
    let algorithm = algorithm(&jwk.algorithm).filter(|_| is_for_tokens)?;
    let is_its_own = |named: KeyAlgorithm| named == KeyAlgorithm::from(algorithm);
    if !common.key_algorithm.is_none_or(is_its_own) {
        return None;
    }
    Some(VerifyingKey {
        kid: common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(&jwk).ok()?,
        withdrawn: CancellationToken::new(),
        given,
    })
}

/// The algorithm of a key, if it can be used and is strong enough.
fn algorithm(parameters: &AlgorithmParameters) -> Option<Algorithm> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let is_point = |text: &str| bytes(text).is_some_and(|bytes| bytes.len() == POINT_BYTES);
    match parameters {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = bytes(&rsa.n)?;
            let length = modulus.iter().skip_while(|byte| **byte == 0).count();
            MODULUS_BYTES.contains(&length).then_some(Algorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(point) => {
            let is_ours = point.curve == EllipticCurve::P256;
            (is_ours && is_point(&point.x) && is_point(&point.y)).then_some(Algorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(point) => {
            let is_ours = point.curve == EllipticCurve::Ed25519;
            (is_ours && is_point(&point.x)).then_some(Algorithm::EdDSA)
        }
        // a secret is no public key
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(key: &Value) -> usize {
        let set = json!({ "keys": [key] }).to_string();
        keys(set.as_bytes()).unwrap().len()
    }

    #[test]
    fn keys_of_other_types_or_ends_or_too_weak_are_left_out() {
        let point = URL_SAFE_NO_PAD.encode([7; 32]);
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": point });
        assert_eq!(taken(&ed), 1);
        let with = |field: &str, value: Value| {
            let mut key = ed.clone();
            key[field] = value;
            taken(&key)
        };
        assert_eq!(with("use", json!("sig")), 1);
        assert_eq!(with("use", json!("enc")), 0);
        assert_eq!(with("key_ops", json!(["verify"])), 1);
        assert_eq!(with("key_ops", json!(["encrypt"])), 0);
        assert_eq!(with("alg", json!("EdDSA")), 1);
        assert_eq!(with("alg", json!("HS256")), 0);
        assert_eq!(with("x", json!("AAAA")), 0);
        let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xC5; bytes]);
        for (key, count) in [
            (json!({ "kty": "oct", "k": point }), 0),
            (json!({ "kty": "RSA", "e": "AQAB", "n": modulus(128) }), 0),
            (json!({ "kty": "RSA", "e": "AQAB", "n": modulus(256) }), 1),
            (json!({ "kty": "RSA", "e": "AQAB", "n": modulus(1_024) }), 0),
            (
                json!({ "kty": "EC", "crv": "P-384", "x": point, "y": point }),
                0,
            ),
            (json!({ "kty": "new" }), 0),
            (json!(7), 0),
        ] {
            assert_eq!(taken(&key), count, "{key}");
        }
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for text in ["", "[]", "{}", r#"{"keys":7}"#] {
            assert!(keys(text.as_bytes()).is_err(), "{text}");
        }
    }
}
