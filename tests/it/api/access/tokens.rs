//! Which tokens let their holders in, as what, and for how long.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homepot_analytics::identity::{Role, TokenArgs};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::super::app::{TestApp, on_each_database};
use super::super::socket::Socket;
use super::issuer::{Issuer, by_file, by_secret, claims, noon_seconds};
use super::{ask, code, data, grant, key, recorded};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn take(app: &mut TestApp, tokens: TokenArgs) {
    Box::pin(app.restart_as(|start| start.tokens = tokens)).await;
}

/// Why a token is refused; nothing if it lets its holder in.
async fn refusal(app: &TestApp, token: &str) -> Option<String> {
    let (status, answer) = ask(app, token, json!({ "query": "{ viewer { name } }" })).await;
    if status == 200 {
        return None;
    }
    assert_eq!((status.as_u16(), code(&answer)), (401, "UNAUTHENTICATED"));
    let message = answer["errors"][0]["message"].as_str().unwrap();
    Some(message.to_owned())
}

async fn assert_refused(app: &TestApp, token: &str, why: &str) {
    let refused = refusal(app, token).await;
    let refused = refused.unwrap_or_else(|| panic!("let in, and not refused: {why}"));
    assert!(refused.contains(why), "{refused}, and not: {why}");
}

#[tokio::test]
async fn a_token_of_each_algorithm_lets_its_holder_in() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let issuers = [Issuer::ec("ec", 7), Issuer::ed("ed", 7), Issuer::rsa("rsa")];
        let [ec, ed, rsa] = &issuers;
        let mut tokens = by_file(folder.path(), &[ec, ed, rsa]);
        tokens.jwt_secret_file = by_secret(folder.path(), SECRET).jwt_secret_file;
        take(app, tokens).await;
        for issuer in [ec, ed, rsa, &Issuer::secret(SECRET)] {
            let token = issuer.token(&claims(json!({})));
            let viewer = "{ viewer { name role siteIds deviceId expiresAt } }";
            let data = data(app, &token, viewer).await;
            let expected = json!({ "name": "ada", "role": "VIEWER", "siteIds": null,
                "deviceId": null, "expiresAt": "2026-11-23T12:06:00Z" });
            assert_eq!(data["viewer"], expected, "{:?}", issuer.algorithm);
        }
    })
    .await;
}

#[tokio::test]
async fn what_no_known_key_has_signed_lets_nobody_in() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let (ec, other) = (Issuer::ec("ec", 7), Issuer::ec("ec", 8));
        take(app, by_file(folder.path(), &[&ec])).await;
        let token = ec.token(&claims(json!({})));
        assert_eq!(refusal(app, &token).await, None);
        let parts: Vec<&str> = token.split('.').collect();
        let admin = claims(json!({ "homepot": { "role": "ADMIN" } })).to_string();
        let admin = URL_SAFE_NO_PAD.encode(admin);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"ec"}"#);
        let by_secret = Issuer::secret(SECRET).token(&claims(json!({})));
        for token in [
            other.token(&claims(json!({}))),
            Issuer::ec("new", 7).token(&claims(json!({}))),
            format!("{}.{admin}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{none}.{admin}."),
            format!("{none}.{admin}.{}", parts[2]),
            by_secret,
            "..".to_owned(),
            "a.b.c".to_owned(),
        ] {
            assert_refused(app, &token, "signed by no key that is known").await;
        }
        assert_refused(app, &format!("{token}.x"), "of no known form").await;
    })
    .await;
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let (rsa, ec) = (Issuer::rsa("rsa"), Issuer::ec("ec", 7));
        take(app, by_file(folder.path(), &[&rsa, &ec])).await;
        let bytes = |jwk: &Value, field: &str| {
            URL_SAFE_NO_PAD
                .decode(jwk[field].as_str().unwrap())
                .unwrap()
        };
        let (of_rsa, of_ec) = (rsa.jwk(), ec.jwk());
        let point = [vec![4], bytes(&of_ec, "x"), bytes(&of_ec, "y")].concat();
        for (kid, secret) in [
            ("rsa", bytes(&of_rsa, "n")),
            ("rsa", of_rsa.to_string().into_bytes()),
            ("ec", bytes(&of_ec, "x")),
            ("ec", point),
        ] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let mut header = Header::new(algorithm);
                header.kid = Some(kid.to_owned());
                let key = EncodingKey::from_secret(&secret);
                let token = jsonwebtoken::encode(&header, &claims(json!({})), &key).unwrap();
                assert_refused(app, &token, "signed by no key").await;
            }
        }
        // a key has one algorithm, though it could do by others
        let mut header = rsa.header();
        for algorithm in [Algorithm::RS384, Algorithm::PS256] {
            header.alg = algorithm;
            let token = jsonwebtoken::encode(&header, &claims(json!({})), &rsa.key).unwrap();
            assert_refused(app, &token, "signed by no key").await;
        }
        let mut header = ec.header();
        header.kid = Some("rsa".to_owned());
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &ec.key).unwrap();
        assert_refused(app, &token, "signed by no key").await;
        header.kid = None;
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &ec.key).unwrap();
        assert_eq!(refusal(app, &token).await, None);
        header.crit = Some(vec!["exp".to_owned()]);
        let token = jsonwebtoken::encode(&header, &claims(json!({})), &ec.key).unwrap();
        assert_refused(app, &token, "signed by no key").await;
    })
    .await;
}

#[tokio::test]
async fn a_token_holds_in_its_time_for_its_audience_and_of_its_issuer() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let ed = Issuer::ed("ed", 7);
        take(app, by_file(folder.path(), &[&ed])).await;
        let noon = noon_seconds();
        let nothing = "give nothing here";
        for (others, why) in [
            (json!({ "exp": noon - 59 }), ""),
            (json!({ "exp": noon - 60 }), "has expired"),
            (json!({ "exp": null }), nothing),
            (json!({ "exp": "2030-01-01" }), nothing),
            (json!({ "exp": -1 }), nothing),
            (json!({ "nbf": noon + 60 }), ""),
            (json!({ "nbf": noon + 61 }), "does not hold yet"),
            (json!({ "nbf": "now" }), nothing),
            (json!({ "iss": "https://other.example" }), "another issuer"),
            (json!({ "iss": null }), "another issuer"),
            (json!({ "aud": "other" }), "another audience"),
            (json!({ "aud": [] }), "another audience"),
            (json!({ "aud": null }), "another audience"),
            (json!({ "aud": ["other", "homepot"] }), ""),
            (json!({ "sub": null }), nothing),
            (json!({ "sub": "" }), nothing),
            (json!({ "sub": "a\nb" }), nothing),
            (json!({ "sub": "a".repeat(101) }), nothing),
            (json!({ "homepot": null }), nothing),
        ] {
            let token = ed.token(&claims(others.clone()));
            match why {
                "" => assert_eq!(refusal(app, &token).await, None, "{others}"),
                why => assert_refused(app, &token, why).await,
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_by_a_secret_is_for_nobody_who_is_not_named_at_start() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        take(app, by_secret(folder.path(), SECRET)).await;
        let issuer = Issuer::secret(SECRET);
        let free = claims(json!({ "aud": null, "iss": null }));
        assert_eq!(refusal(app, &issuer.token(&free)).await, None);
        let bound = claims(json!({ "iss": null }));
        assert_refused(app, &issuer.token(&bound), "another audience").await;
        let other = Issuer::secret("another secret of thirty-two bytes");
        assert_refused(app, &other.token(&free), "signed by no key").await;
    })
    .await;
}

#[tokio::test]
async fn a_token_gives_what_its_role_can_be_given() {
    on_each_database(async |app| {
        app.fleet().await;
        let folder = tempfile::tempdir().unwrap();
        let ed = Issuer::ed("ed", 7);
        take(app, by_file(folder.path(), &[&ed])).await;
        let token = |homepot: Value| ed.token(&claims(json!({ "homepot": homepot })));
        let bound = token(json!({ "role": "VIEWER", "siteIds": ["harbour"] }));
        let devices = data(app, &bound, "{ devices { nodes { deviceId } } }").await;
        assert_eq!(devices["devices"]["nodes"].as_array().unwrap().len(), 2);
        let till = token(json!({ "role": "DEVICE", "deviceId": "till-1" }));
        let metrics = |device: &str| {
            json!([{ "deviceMetrics": { "deviceId": device, "cpuPercent": 5,
                "occurredAt": "2026-11-23T11:00:00Z" } }])
        };
        assert_eq!(recorded(app, &till, metrics("till-1")).await, ["RECORDED"]);
        assert_ne!(recorded(app, &till, metrics("till-2")).await, ["RECORDED"]);
        for homepot in [
            json!({}),
            json!({ "role": "KING" }),
            json!({ "role": "DEVICE" }),
            json!({ "role": "VIEWER", "deviceId": "till-1" }),
            json!({ "role": "ADMIN", "siteIds": ["harbour"] }),
            json!({ "role": "VIEWER", "siteIds": [] }),
            json!({ "role": "VIEWER", "siteIds": null }),
            json!({ "role": "VIEWER", "siteIds": [""] }),
            json!({ "role": "VIEWER", "siteIds": "harbour" }),
            json!({ "role": "VIEWER", "sites": ["harbour"] }),
        ] {
            assert_refused(app, &token(homepot), "give nothing here").await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_open_by_a_token_is_cut_when_that_expires() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let ed = Issuer::ed("ed", 7);
        let mut tokens = by_file(folder.path(), &[&ed]);
        tokens.jwt_leeway_seconds = 0;
        take(app, tokens).await;
        let token = ed.token(&claims(json!({})));
        let mut socket = Socket::open_as(app.app().address, &token).await;
        let id = socket.subscribe("{ viewer { role } }", json!({})).await;
        assert_eq!(socket.data(&id).await["viewer"]["role"], "VIEWER");
        let post = app
            .client()
            .post(app.address("/graphql"))
            .bearer_auth(&token);
        let post = post.header("accept", "text/event-stream");
        let post = post.json(&json!({ "query": "subscription { events { position } }" }));
        let mut stream = post.send().await.unwrap();
        app.clock.advance_ms(299_999);
        assert_eq!(refusal(app, &token).await, None);
        app.clock.advance_ms(1);
        assert_eq!(socket.closed().await, 4403);
        while stream.chunk().await.unwrap().is_some() {}
        assert_refused(app, &token, "has expired").await;
        let mut socket = Socket::try_connect(app.app().address).await.unwrap();
        let greeting = json!({ "authorization": format!("Bearer {token}") });
        socket.greet(greeting).await;
        assert_eq!(socket.closed().await, 4403);
    })
    .await;
}

#[tokio::test]
async fn keys_hold_beside_tokens_and_tokens_only_where_they_are_taken() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let ed = Issuer::ed("ed", 7);
        let token = ed.token(&claims(json!({})));
        app.close_to_strangers().await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        assert_refused(app, &token, "tokens are not taken here").await;
        take(app, by_file(folder.path(), &[&ed])).await;
        assert_eq!(refusal(app, &token).await, None);
        assert_eq!(refusal(app, &admin).await, None);
        // whatever begins as a key is no token
        assert_refused(app, "hp_a.b.c", "of no known form").await;
    })
    .await;
}

#[tokio::test]
async fn refused_tokens_are_told_in_the_audit_without_what_is_in_them() {
    on_each_database(async |app| {
        let folder = tempfile::tempdir().unwrap();
        let ed = Issuer::ed("ed", 7);
        take(app, by_file(folder.path(), &[&ed])).await;
        let admin = ed.token(&claims(json!({ "homepot": { "role": "ADMIN" } })));
        let mut socket = Socket::open_as(app.app().address, &admin).await;
        let document = "subscription($after: String) {
            auditEntries(after: $after, filter: { action: { eq: SIGN_IN } }) {
                actor reason occurrences } }";
        let head = data(app, &admin, "{ storeHealth { cursor } }").await;
        let after = json!({ "after": head["storeHealth"]["cursor"] });
        let id = socket.subscribe(document, after).await;
        let old = ed.token(&claims(
            json!({ "sub": "mallory", "exp": noon_seconds() - 100 }),
        ));
        let forged = Issuer::ed("ed", 8).token(&claims(json!({ "sub": "mallory" })));
        let mut told = Vec::new();
        for token in [&old, &forged] {
            refusal(app, token).await.unwrap();
            let entry = &socket.data(&id).await["auditEntries"];
            assert_eq!(entry["actor"], "nobody");
            told.push(entry["reason"].as_str().unwrap().to_owned());
        }
        assert_eq!(
            told,
            [
                "the token has expired",
                "the token does not hold: it is signed by no key that is known here"
            ]
        );
    })
    .await;
}
