//! The secret of a webhook as it is kept: sealed to that webhook where the server has a key for what is
//! sensitive, and as it was given where it has none.

use serde_json::Value;

use crate::configuration::{Keyring, Place, SealError};

/// With this begins what is sealed; no secret begins so.
pub(super) const SEALED: &str = "sealed:";
const THING: &str = "WEBHOOK";
const PARAMETER: &str = "secret";

/// A secret as it is kept.
pub(super) fn sealed(
    keyring: &Keyring,
    webhook_id: &str,
    secret: String,
) -> Result<String, SealError> {
    let place = Place {
        entity_type: THING,
        entity_id: webhook_id,
        parameter: PARAMETER,
    };
    match keyring.seal(&Value::from(secret.as_str()), place) {
        Ok(sealed) => Ok(format!("{SEALED}{sealed}")),
        Err(SealError::NoKey) => Ok(secret),
        Err(error) => Err(error),
    }
}

/// The secret that is kept; `None` when the key with which it was sealed is not there any more.
pub(super) fn opened(keyring: &Keyring, webhook_id: &str, kept: &str) -> Option<String> {
    let Some(sealed) = kept.strip_prefix(SEALED) else {
        return Some(kept.to_owned());
    };
    let value: Value = serde_json::from_str(sealed).ok()?;
    let opened = keyring.open(&value, PARAMETER, &[(THING, webhook_id)])?;
    opened.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sealed_to_its_webhook_where_there_is_a_key() {
        let secret = "sixteen letters or more";
        let keyring = Keyring::read(&Keyring::new_key().unwrap()).unwrap();
        let kept = sealed(&keyring, "w", secret.to_owned()).unwrap();
        assert!(!kept.contains(secret), "{kept}");
        assert_eq!(opened(&keyring, "w", &kept).as_deref(), Some(secret));
        assert_eq!(opened(&keyring, "other", &kept), None);
        let none = Keyring::default();
        assert_eq!(opened(&none, "w", &kept), None);
        let kept = sealed(&none, "w", secret.to_owned()).unwrap();
        assert_eq!(kept, secret);
        // what was kept before there was a key is itself
        assert_eq!(opened(&keyring, "w", &kept).as_deref(), Some(secret));
    }
}
