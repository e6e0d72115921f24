//! The rules of alerts of whoever is bound to sites: what is seen of those for others too, and how many
//! there may be.

use homepot_analytics::identity::Role;
use serde_json::{Value, json};

use super::super::app::on_each_database;
use super::{data, grant, key};

fn create(name: &str, for_whom: &str) -> String {
    format!(
        "mutation {{ createAlertRule(input: {{ name: \"{name}\", severity: INFO, {for_whom},
            idempotencyKey: \"{name}\", watch: {{ jobFailure: {{}} }} }}) {{
            rule {{ ruleId siteIds }} userErrors {{ code }} }} }}"
    )
}

fn codes(answer: &Value) -> &Value {
    &answer["createAlertRule"]["userErrors"]
}

#[tokio::test]
async fn a_rule_for_others_too_is_shown_with_the_sites_and_devices_within_reach() {
    on_each_database(async |app| {
        app.fleet().await;
        let both = "siteIds: [\"market\", \"harbour\"], deviceIds: [\"till-3\", \"till-2\"]";
        app.data(&create("both", both)).await;
        app.data(&create("other", "siteIds: [\"market\"]")).await;
        app.close_to_strangers().await;
        let viewer = key(app, grant(Role::Viewer, &["harbour"])).await;
        let document = "{ alertRules { name siteIds deviceIds } }";
        let mut seen = data(app, &viewer, document).await;
        let rules = seen["alertRules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["name"] == "both" || rule["name"] == "other");
        let shown = json!({ "name": "both", "siteIds": ["harbour"], "deviceIds": ["till-2"] });
        assert_eq!(*rules, [shown]);
    })
    .await;
}

#[tokio::test]
async fn whoever_is_bound_leaves_places_of_rules_to_others() {
    on_each_database(async |app| {
        app.fleet().await;
        app.close_to_strangers().await;
        let bound = key(app, grant(Role::Operator, &["harbour"])).await;
        let whole = key(app, grant(Role::Operator, &[])).await;
        let harbour = "siteIds: [\"harbour\"]";
        for number in 0..20 {
            let made = data(app, &bound, &create(&format!("rule-{number}"), harbour)).await;
            assert_eq!(*codes(&made), json!([]));
        }
        let beyond = data(app, &bound, &create("beyond", harbour)).await;
        assert_eq!(*codes(&beyond), json!([{ "code": "TOO_MANY" }]));
        // a repeat is no other rule, and others have their places
        let repeated = data(app, &bound, &create("rule-0", harbour)).await;
        assert_eq!(*codes(&repeated), json!([]));
        let made = data(app, &whole, &create("more", harbour)).await;
        assert_eq!(*codes(&made), json!([]));
    })
    .await;
}
