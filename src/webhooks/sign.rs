//! The signature of what is sent: HMAC with SHA-256 over its id, its time and its body, in the form of
//! the Standard Webhooks specification (<https://www.standardwebhooks.com>), so that its libraries check it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The value of the header `webhook-signature`; the key is the bytes of the secret.
pub(super) fn signature(secret: &str, (id, seconds): (&str, i64), body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    Some(format!("v1,{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // computed with `openssl dgst -sha256 -hmac`
        let signed = signature("a secret of 24 letters..", ("id", 1), "{}").unwrap();
        assert_eq!(signed, "v1,qlt1/G221rG2Dm15d6aECldOUlH8LQ87j0vU+uk/Rzo=");
    }
}
