//! Values lie in the tables as they were given.

use homepot_analytics::event::{Instant, Money, Position};
use homepot_analytics::kinds::{Kind, to_json};
use serde_json::json;

use crate::support::{Database, contract, event};

contract![
    money_keeps_every_place,
    instants_keep_microseconds,
    numbers_keep_every_bit,
    an_exported_event_is_a_repeat_when_it_comes_back,
];

fn measured(fields: &serde_json::Value) -> homepot_analytics::event::NewEvent {
    let mut body = json!({"deviceId": "d1", "occurredAt": "2026-11-23T09:00:00Z"});
    let entries = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(entries);
    event(&json!({"deviceMetrics": body}))
}

async fn money_keeps_every_place(database: Database) {
    let log = database.open().await.with_fleet().await;
    for (second, money) in [
        "900719925474099.1234",
        "-0.0001",
        "0",
        "922337203685477.5807",
    ]
    .iter()
    .enumerate()
    {
        let occurred_at = format!("2026-11-23T09:00:{second:02}Z");
        let given = json!({"transactionVolume": money, "occurredAt": occurred_at});
        log.record(vec![measured(&given)]).await;
        let before = Position(5 + i64::try_from(second).unwrap());
        let read = &log.after(before, 1).await.unwrap().events[0];
        let index = Kind::DeviceMetrics
            .spec()
            .index_of("transactionVolume")
            .unwrap();
        let units = read.fact.cells[index].int().unwrap();
        assert_eq!(Money(units).to_string(), *money);
    }
    log.close().await;
}

async fn instants_keep_microseconds(database: Database) {
    let log = database.open().await.with_fleet().await;
    let given = "2026-11-23T09:59:59.123457Z";
    log.record(vec![measured(&json!({"occurredAt": given}))])
        .await;
    let read = log.after(Position(5), 1).await.unwrap().events;
    assert_eq!(read[0].fact.occurred_at, Instant::parse(given).unwrap());
    assert_eq!(read[0].fact.occurred_at.to_string(), given);
    log.close().await;
}

async fn numbers_keep_every_bit(database: Database) {
    let log = database.open().await.with_fleet().await;
    let numbers = [
        0.1 + 0.2,
        1.0 / 3.0,
        31.245_270_191_439_438,
        f64::MIN_POSITIVE,
        100.0,
    ];
    for (second, number) in numbers.iter().enumerate() {
        let occurred_at = format!("2026-11-23T09:00:{second:02}Z");
        let given = json!({"cpuPercent": number, "occurredAt": occurred_at});
        log.record(vec![measured(&given)]).await;
    }
    let read = log.after(Position(5), 100).await.unwrap().events;
    for (event, number) in read.iter().zip(numbers) {
        assert_eq!(event.fact.cells[1], number.into());
    }
    log.close().await;
}

async fn an_exported_event_is_a_repeat_when_it_comes_back(database: Database) {
    use homepot_analytics::store::Outcome;
    let log = database.open().await.with_fleet().await;
    let given = json!({"cpuPercent": 31.245_270_191_439_438, "services": {"a": "UP"},
        "transactionVolume": "12.3", "extra": {"n": 121.487_919_511_619_45}});
    log.record(vec![measured(&given)]).await;
    let read = log.after(Position(5), 1).await.unwrap().events;
    let line = to_json(&read[0]).to_string();
    let back = event(&serde_json::from_str(&line).unwrap());
    assert_eq!(
        log.record(vec![back]).await,
        [Outcome::Duplicate(Position(6))]
    );
    log.close().await;
}
