//! CSV that is for spreadsheets has no text that they would run.

use serde_json::{Value, json};

use super::super::app::on_each_database;
use super::{done, taken};

#[tokio::test]
async fn what_anybody_searched_for_is_no_formula_in_what_is_for_spreadsheets() {
    on_each_database(async |app| {
        let searched = json!({ "userActivity": { "activityType": "SEARCH_QUERY", "userId": "u",
            "searchQuery": "=1+1" } });
        app.record(json!([searched])).await;
        for (spreadsheet, shown) in [
            (Value::Null, ",=1+1,"),
            (json!(false), ",=1+1,"),
            (json!(true), ",'=1+1,"),
        ] {
            let mut asked = json!({ "format": "CSV", "sources": [{ "userActivity": {} }] });
            if !spreadsheet.is_null() {
                asked["spreadsheet"] = spreadsheet.clone();
            }
            let export = done(app, asked).await;
            let text = String::from_utf8(taken(app, &export).await).unwrap();
            assert!(text.contains(shown), "{text}");
            let query = "query($id: ID!) { export(exportId: $id) { spreadsheet } }";
            let id = json!({ "id": export["exportId"] });
            let data = app.data_with(query, id).await;
            assert_eq!(data["export"]["spreadsheet"], json!(spreadsheet == true));
        }
    })
    .await;
}
