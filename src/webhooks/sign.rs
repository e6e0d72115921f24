//! The signature of what is sent: HMAC with SHA-256 over its id, its time and its body, in the form of
//! the Standard Webhooks specification (<https://www.standardwebhooks.com>), so that its libraries check it.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// With this a secret begins whose key is in Base64 behind it.
const PREFIX: &str = "whsec_";
/// Bytes of such a key, by the specification.
pub(super) const KEY_BYTES: RangeInclusive<usize> = 24..=64;

/// The value of the header `webhook-signature`.
pub(super) fn signature(secret: &str, (id, seconds): (&str, i64), body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)).ok()?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    Some(format!("v1,{}", STANDARD.encode(bytes)))
}

/// Whether a secret begins as those of the specification do and is none of them.
pub(super) fn is_malformed(secret: &str) -> bool {
    secret.starts_with(PREFIX) && decoded(secret).is_none()
}

/// What signs: the key that a secret has in it, or the bytes of one that is in no form.
fn key(secret: &str) -> Vec<u8> {
    decoded(secret).unwrap_or_else(|| secret.as_bytes().to_vec())
}

fn decoded(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_the_specification_signs_as_its_libraries_check() {
        // an example of the libraries themselves
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let sent = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        let signed = signature(secret, sent, r#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_in_no_form_signs_with_its_bytes() {
        let secret = "a secret of 24 letters..";
        // computed with `openssl dgst -sha256 -hmac`
        let signed = signature(secret, ("id", 1), "{}").unwrap();
        assert_eq!(signed, "v1,qlt1/G221rG2Dm15d6aECldOUlH8LQ87j0vU+uk/Rzo=");
        let same = format!("whsec_{}", STANDARD.encode(secret));
        assert_eq!(signature(&same, ("id", 1), "{}").unwrap(), signed);
    }

    #[test]
    fn what_only_begins_as_the_specification_has_it_is_malformed() {
        for secret in ["whsec_no Base64 at all", "whsec_c2hvcnQ="] {
            assert!(is_malformed(secret), "{secret}");
        }
        assert!(!is_malformed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert!(!is_malformed("a secret of 24 letters.."));
    }
}
