//! Commands that are given at the same time.

use serde_json::{Value, json};

use super::app::on_each_database;

#[tokio::test]
async fn of_changes_made_at_once_each_knows_the_value_before_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let set = async |value: i64| {
            let document = format!("mutation {{ setConfiguration(input: {{ entityType: SITE, entityId: \"market\",
                parameterName: \"p\", value: {value} }}) {{ change {{ newValue }} userErrors {{ code }} }} }}");
            app.data(&document).await["setConfiguration"].take()
        };
        let answers = tokio::join!(set(1), set(2), set(3), set(4));
        let answers: [Value; 4] = answers.into();
        for answer in &answers {
            let refused = answer["userErrors"] == json!([{ "code": "CONFLICT" }]);
            assert!(refused || answer["change"]["newValue"].is_i64(), "{answer}");
        }
        let data = app
            .data("{ configurationHistory(order: FIRST_RECORDED_FIRST) { nodes { oldValue newValue } } }")
            .await;
        let mut before = Value::Null;
        for row in data["configurationHistory"]["nodes"].as_array().unwrap() {
            assert_eq!(row["oldValue"], before);
            before = row["newValue"].clone();
        }
        assert_ne!(before, Value::Null);
    })
    .await;
}
