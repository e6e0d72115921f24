//! What a spreadsheet would run is no formula in CSV that is for spreadsheets, and as it was recorded in all else.

use homepot_analytics::export::{ExportError, Format, Readers};
use homepot_analytics::kinds::Kind;
use serde_json::json;

use super::export_for;
use crate::support::{Database, contract, event};

contract![texts_are_no_formulas_for_spreadsheets_and_as_they_are_for_programs];

const SEARCHED: [(&str, &str); 7] = [
    ("=HYPERLINK(\"http://x\",1)", "'=HYPERLINK(\"http://x\",1)"),
    ("+1+1", "'+1+1"),
    ("-1+1", "'-1+1"),
    ("@SUM(1)", "'@SUM(1)"),
    ("＝1+1", "'＝1+1"),
    ("shoes = 5", "shoes = 5"),
    ("'=1", "'=1"),
];

async fn texts_are_no_formulas_for_spreadsheets_and_as_they_are_for_programs(database: Database) {
    let log = database.open().await;
    for (searched, _) in SEARCHED {
        let searched = json!({ "userActivity": { "activityType": "SEARCH_QUERY", "userId": "u",
            "searchQuery": searched } });
        log.record(vec![event(&searched)]).await;
    }
    let kinds = [Kind::UserActivity];
    let path = database.dir().join("searched.csv");
    for readers in [Readers::Programs, Readers::Spreadsheets] {
        let written = export_for(&log.handle(), &kinds, (Format::Csv, readers), &path).await;
        assert_eq!(written.unwrap().events, 7);
        let mut table = csv::Reader::from_path(&path).unwrap();
        let names = table.headers().unwrap().clone();
        let column = names
            .iter()
            .position(|name| name == "search_query")
            .unwrap();
        let found: Vec<String> = table
            .records()
            .map(|row| row.unwrap()[column].to_owned())
            .collect();
        let expected = SEARCHED.map(|(programs, spreadsheets)| match readers {
            Readers::Programs => programs,
            Readers::Spreadsheets => spreadsheets,
        });
        assert_eq!(found, expected, "{readers:?}");
    }
    for format in [Format::Jsonl, Format::Parquet] {
        let form = (format, Readers::Spreadsheets);
        let refused = export_for(&log.handle(), &kinds, form, &path).await;
        assert!(
            matches!(refused, Err(ExportError::Spreadsheet { .. })),
            "{refused:?}"
        );
    }
    log.close().await;
}
