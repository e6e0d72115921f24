//! What was recorded is a duplicate when it is sent again, whatever a caller may record by then.

use homepot_analytics::identity::Role;
use serde_json::json;

use super::super::app::{at, on_each_database};
use super::{grant, key, recorded};

/// Those who run the fleet have changed the site meanwhile.
#[tokio::test]
async fn a_repeat_of_a_registration_of_the_own_site_is_a_duplicate() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let ingest = key(app, grant(Role::Ingest, &["harbour"])).await;
        let admin = key(app, grant(Role::Admin, &[])).await;
        let site = |zone: &str, id: &str, minute: i64| {
            json!({ "siteRegistration": { "siteId": "harbour", "name": "n", "timeZone": zone,
                "currency": "GBP", "eventId": id, "occurredAt": at(minute) } })
        };
        let id = |last: u8| format!("0198c0de-0000-7000-8000-00000000000{last}");
        let first = json!([site("Europe/London", &id(1), 1)]);
        assert_eq!(recorded(app, &ingest, first.clone()).await, ["RECORDED"]);
        let moved = json!([site("Asia/Tokyo", &id(2), 2)]);
        assert_eq!(recorded(app, &admin, moved).await, ["RECORDED"]);
        assert_eq!(recorded(app, &ingest, first).await, ["DUPLICATE"]);
        let another = json!([site("Europe/London", &id(3), 3)]);
        let refused = recorded(app, &ingest, another).await;
        assert_eq!(refused, ["REJECTED NOT_ALLOWED"]);
    })
    .await;
}
