//! Commands that are given at the same time, and on another node.

use super::app::on_each_database;
use sea_orm::ConnectionTrait;

/// Registers a site `far-N` with a device of the same name as another node does that has not told
/// this one of its commit yet, and an error of the device.
fn registered_elsewhere(name: &str) -> String {
    format!(
        "INSERT INTO entity_keys (entity_type, entity_id) VALUES ('SITE', '{name}'), ('DEVICE', '{name}');
        INSERT INTO sites (site_key, site_id, name, time_zone, registered_at, position)
            SELECT entity_key, '{name}', 'Far shop', 'UTC', 0, 1
            FROM entity_keys WHERE entity_type = 'SITE' AND entity_id = '{name}';
        INSERT INTO devices
            (device_key, device_id, site_key, device_type, lifecycle, registered_at, position)
            SELECT d.entity_key, '{name}', s.entity_key, 'POS_TERMINAL', 'ACTIVE', 0, 1
            FROM entity_keys d, entity_keys s WHERE d.entity_id = '{name}' AND s.entity_id = '{name}'
            AND d.entity_type = 'DEVICE' AND s.entity_type = 'SITE';
        INSERT INTO device_registrations (position, occurred_at, recorded_at, provenance, device_key, site_key,
                device_type)
            SELECT 2000 + device_key, 1000000000000000, 1000000000000000, 1, device_key, site_key, device_type
            FROM devices WHERE device_id = '{name}';
        INSERT INTO device_stays (device_key, from_at, until_at, site_key)
            SELECT device_key, 0, 9223372036854775807, site_key FROM devices WHERE device_id = '{name}';
        INSERT INTO error_logs (position, occurred_at, recorded_at, provenance, category, severity,
                error_message, device_key)
            SELECT 1000 + entity_key, 1000000000000000, 1000000000000000, 1, 'API', 'ERROR', 'far', entity_key
            FROM entity_keys WHERE entity_id = '{name}' AND entity_type = 'DEVICE'"
    )
}

#[tokio::test]
async fn what_another_node_has_just_registered_is_known_at_once() {
    on_each_database(async |app| {
        let elsewhere = app.database().await;
        for (n, document) in [
            "mutation { answer: setConfiguration(input: { entityType: DEVICE, entityId: \"far\",
                changes: [{ parameterName: \"collectionIntervalSeconds\", value: 1 }] }) {
                configuration { entityId } } }",
            "mutation { answer: createJob(input: { jobType: RESTART, deviceIds: [\"far\"] }) {
                job { targets { device { deviceId } } } } }",
            "mutation { answer: createJob(input: { jobType: RESTART, siteIds: [\"far\"] }) {
                job { targets { device { deviceId } } } } }",
            "mutation { answer: setSiteSchedule(input: { siteId: \"far\", dayOfWeek: MONDAY,
                isClosed: true }) { schedule { siteId } } }",
            "{ answer: device(deviceId: \"far\") { deviceId } }",
            "{ answer: site(siteId: \"far\") { siteId } }",
            "{ answer: errorLogs(filter: { deviceId: { eq: \"far\" } }) { nodes { deviceId } } }",
            "{ answer: errorLogs(filter: { or: [{ siteId: { eq: \"far\" } }] }) { nodes { deviceId } } }",
            "{ answer: devices(filter: { siteId: \"far\" }) { nodes { deviceId } } }",
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("far-{n}");
            let registered = registered_elsewhere(&name);
            elsewhere.execute_unprepared(&registered).await.unwrap();
            let answer = app.data(&document.replace("far", &name)).await;
            assert!(
                answer["answer"].to_string().contains(&name),
                "{document}: {answer}"
            );
        }
        elsewhere.close().await.unwrap();
    })
    .await;
}
