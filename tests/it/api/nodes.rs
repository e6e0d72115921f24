//! `node`: whatever has an id is found again by it.

use homepot_analytics::kinds::Kind;
use serde_json::{Value, json};

use super::alerts::opened;
use super::app::on_each_database;
use super::configuration::{applied, is_of_configuration};
use super::error_groups::decided;
use super::inputs::minimal;

#[tokio::test]
async fn an_event_of_every_kind_is_found_again_by_its_id() {
    on_each_database(async |app| {
        app.fleet().await;
        opened(app, &["till-1"]).await;
        decided(app).await;
        for spec in Kind::ALL.iter().map(|kind| kind.spec()) {
            if spec.recordable {
                app.record(json!([{ spec.wire: minimal(spec, 1) }])).await;
            } else if is_of_configuration(spec.kind) {
                applied(app, "till-2").await;
            } else {
                app.data("mutation { createJob(input: { jobType: RESTART, deviceIds: [\"till-1\"] }) { job { jobId } } }")
                    .await;
            }
            let (list, ty) = (spec.list, spec.type_name);
            let data = app.data(&format!("{{ {list}(first: 1) {{ nodes {{ id position }} }} }}")).await;
            let row = &data[list]["nodes"][0];
            let document = format!(
                "query($id: ID!) {{ node(id: $id) {{ __typename id ... on {ty} {{ position }} }} }}"
            );
            let found = app.data_with(&document, json!({ "id": row["id"] })).await;
            let expected = json!({ "__typename": ty, "id": row["id"], "position": row["position"] });
            assert_eq!(found["node"], expected);
        }
    })
    .await;
}

#[tokio::test]
async fn sites_and_devices_are_found_again_by_their_ids() {
    on_each_database(async |app| {
        app.fleet().await;
        let data = app
            .data("{ site(siteId: \"harbour\") { id } device(deviceId: \"till-3\") { id } }")
            .await;
        let document = "query($s: ID!, $d: ID!) { s: node(id: $s) { id ... on Site { name } }
            d: node(id: $d) { id ... on Device { deviceId } } }";
        let (site, device) = (&data["site"]["id"], &data["device"]["id"]);
        let found = app
            .data_with(document, json!({ "s": site, "d": device }))
            .await;
        assert_eq!(found["s"], json!({ "id": site, "name": "Harbour shop" }));
        assert_eq!(found["d"], json!({ "id": device, "deviceId": "till-3" }));
    })
    .await;
}

#[tokio::test]
async fn an_id_of_nothing_is_null_and_what_is_no_id_is_bad_input() {
    on_each_database(async |app| {
        app.fleet().await;
        // `device:nobody`, `site:nowhere`, and position 999 of kind 6
        for id in [
            "ZGV2aWNlOm5vYm9keQ",
            "c2l0ZTpub3doZXJl",
            "Njo5OTk6MTc2MzkwMjgwMDAwMDAwMA",
        ] {
            let data = app
                .data(&format!("{{ node(id: \"{id}\") {{ id }} }}"))
                .await;
            assert_eq!(data["node"], Value::Null);
        }
        for id in ["", "!", "till-1", "Njp4OjE"] {
            assert_eq!(
                app.code(&format!("{{ node(id: \"{id}\") {{ id }} }}"))
                    .await,
                "BAD_INPUT"
            );
        }
    })
    .await;
}
