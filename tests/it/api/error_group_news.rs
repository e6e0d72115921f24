//! Groups of errors that are new or come back are heard of, and keep their ids.

use serde_json::json;

use super::app::{at, on_each_database};
use super::error_groups::{CARD, PAPER, decide, id_of, record, story};

#[tokio::test]
async fn who_follows_groups_hears_of_those_that_are_new_or_come_back_and_goes_on_from_a_cursor() {
    on_each_database(async |app| {
        app.fleet().await;
        record(app, &[("till-1", "known before all this", -500)]).await;
        let stream = "subscription($after: String) { errorGroups(after: $after) { cursor event errorGroup { id template status count } } }";
        let head = app.head().await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(stream, json!({ "after": head })).await;
        record(app, &[("till-1", "printer 12 is out of paper", -30), ("till-2", "known before all this", -29)]).await;
        record(app, &[("till-2", "printer 13 is out of paper", -28), ("till-2", CARD, -27)]).await;
        let mut cursors = Vec::new();
        for template in ["printer 12 is out of paper", CARD] {
            let news = socket.data(&id).await["errorGroups"].take();
            assert_eq!(news["event"], "NEW", "{news}");
            let told = news["errorGroup"]["template"].as_str().unwrap();
            // of what came meanwhile it may tell already
            assert!([template, PAPER].contains(&told), "{news}");
            cursors.push(news["cursor"].clone());
        }
        let card = id_of(app, CARD).await;
        decide(app, "resolveErrorGroup", &card, "").await;
        app.clock.advance_ms(60_000);
        record(app, &[("till-2", CARD, 1), ("till-1", CARD, 1)]).await;
        let back = socket.data(&id).await["errorGroups"].take();
        assert_eq!(back["event"], "REGRESSED");
        assert_eq!(back["errorGroup"]["id"], json!(card));
        // who was away hears of what came since, once
        app.restart().await;
        let mut socket = app.socket().await;
        let id = socket.subscribe(stream, json!({ "after": cursors[0] })).await;
        for event in ["NEW", "REGRESSED"] {
            let news = socket.data(&id).await["errorGroups"].take();
            assert_eq!(news["event"], event, "{news}");
            assert_eq!(news["errorGroup"]["template"], CARD);
        }
        app.clock.advance_ms(60_000);
        record(app, &[("till-3", "nobody has seen that before", 2)]).await;
        let news = socket.data(&id).await["errorGroups"].take();
        assert_eq!(news["errorGroup"]["template"], "nobody has seen that before");
    })
    .await;
}

#[tokio::test]
async fn ids_stay_after_a_restart_and_when_an_older_error_comes_late() {
    on_each_database(async |app| {
        story(app).await;
        let id = id_of(app, PAPER).await;
        app.restart().await;
        assert_eq!(id_of(app, PAPER).await, id);
        record(app, &[("till-3", "printer 4 is out of paper", -900)]).await;
        let document = format!("{{ errorGroup(id: \"{id}\") {{ id count firstSeenAt }} }}");
        let data = app.data(&document).await;
        assert_eq!(
            data["errorGroup"],
            json!({ "id": id, "count": "5", "firstSeenAt": at(-900) })
        );
    })
    .await;
}
