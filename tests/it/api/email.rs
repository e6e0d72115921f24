//! Alerts by mail: what is written to whom, tried again, given up, and never made more of than it is.

use homepot_analytics::app::Access;
use homepot_analytics::webhooks::SmtpArgs;
use serde_json::{Value, json};

use super::alerts::opened;
use super::app::{TestApp, on_each_database};
use super::webhooks::{deliveries, delivery};
use crate::support::{Mail, Smtp};

/// Restarts with an SMTP server; `user` stands before its address, and `tls` behind it.
async fn restart(app: &mut TestApp, smtp: &Smtp, (user, tls): (&str, &str)) {
    let args = SmtpArgs {
        smtp_url: Some(format!("smtp://{user}{}{tls}", smtp.address)),
        smtp_url_file: None,
        smtp_from: Some("HOMEPOT <alerts@shop.example>".to_owned()),
    };
    app.restart_as(|start| {
        start.access = Access::Open;
        start.mailer = args.mailer().unwrap();
    })
    .await;
}

/// A server with a fleet that mails, and where to.
async fn mailing(app: &mut TestApp, replies: &'static [&'static str]) -> Smtp {
    app.fleet().await;
    let smtp = Smtp::start(replies).await;
    restart(app, &smtp, ("", "?tls=none")).await;
    smtp
}

async fn create(app: &TestApp, address: &str) -> Value {
    let document = "mutation($address: String!) { createEmailRecipient(input: { emailAddress: $address,
        states: [OPEN, RESOLVED] }) { recipient { recipientId emailAddress version isEnabled states siteIds }
        userErrors { field code message } } }";
    let variables = json!({ "address": address });
    let mut data = app.data_with(document, variables).await;
    data["createEmailRecipient"].take()
}

async fn resolve(app: &TestApp, alert: &str) {
    let document = format!(
        "mutation {{ resolveAlert(input: {{ alertId: \"{alert}\" }}) {{ userErrors {{ code }} }} }}"
    );
    let data = app.data(&document).await;
    assert_eq!(data["resolveAlert"]["userErrors"], json!([]));
}

async fn came(smtp: &mut Smtp) -> Mail {
    smtp.mails.recv().await.unwrap()
}

#[tokio::test]
async fn what_opens_and_what_is_over_is_mailed_in_one_thread() {
    on_each_database(async |app| {
        let mut smtp = mailing(app, &["250 2.0.0 taken"]).await;
        let made = create(app, "desk@shop.example").await;
        assert_eq!(made["userErrors"], json!([]), "{made:#}");
        let alert = opened(app, &["till-1"]).await.remove(0);
        let first = came(&mut smtp).await;
        assert_eq!(first.to, "desk@shop.example");
        assert_eq!(first.header("To"), "desk@shop.example");
        assert_eq!(first.header("From"), "HOMEPOT <alerts@shop.example>");
        assert_eq!(
            first.header("Subject"),
            "CRITICAL opened: r, till-1 at harbour"
        );
        assert_eq!(first.header("Content-Type"), "text/plain; charset=utf-8");
        assert!(
            first.text.contains("Device: till-1\r\nSite: harbour\r\n"),
            "{first:?}"
        );
        assert!(first.headers("In-Reply-To").is_empty());
        let row = delivery(app, |row| row["state"] == "DELIVERED").await;
        let id = row["deliveryId"].as_str().unwrap();
        assert_eq!(first.header("Message-ID"), format!("<{id}@shop.example>"));
        assert_eq!(row["statusCode"], 250);
        resolve(app, &alert).await;
        let second = came(&mut smtp).await;
        assert_eq!(
            second.header("Subject"),
            "CRITICAL resolved: r, till-1 at harbour"
        );
        assert_ne!(second.header("Message-ID"), first.header("Message-ID"));
        assert_eq!(second.header("In-Reply-To"), first.header("Message-ID"));
        assert_eq!(second.header("References"), first.header("Message-ID"));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_taken_for_now_is_mailed_again_as_the_same_mail() {
    on_each_database(async |app| {
        let mut smtp = mailing(app, &["451 4.3.0 later", "250 2.0.0 taken"]).await;
        create(app, "desk@shop.example").await;
        opened(app, &["till-1"]).await;
        let first = came(&mut smtp).await;
        let row = delivery(app, |row| row["error"].is_string()).await;
        assert_eq!(
            (&row["state"], &row["statusCode"]),
            (&json!("PENDING"), &json!(451))
        );
        app.clock.advance_ms(40_000);
        let second = came(&mut smtp).await;
        for name in ["Message-ID", "Date", "Subject"] {
            assert_eq!(second.header(name), first.header(name));
        }
        let row = delivery(app, |row| row["state"] == "DELIVERED").await;
        assert_eq!(
            (&row["attempts"], &row["statusCode"]),
            (&json!(2), &json!(250))
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_for_ever_is_dead_at_once_and_can_be_mailed_once_more() {
    on_each_database(async |app| {
        let mut smtp = mailing(app, &["550 5.1.1 nobody of that name", "250 2.0.0 taken"]).await;
        create(app, "nobody@shop.example").await;
        opened(app, &["till-1"]).await;
        came(&mut smtp).await;
        let dead = delivery(app, |row| row["error"].is_string()).await;
        assert_eq!(
            (&dead["state"], &dead["attempts"], &dead["statusCode"]),
            (&json!("DEAD"), &json!(1), &json!(550))
        );
        let error = dead["error"].as_str().unwrap();
        assert!(error.contains("nobody of that name"), "{error}");
        let again = json!({ "id": dead["deliveryId"] });
        let document = "mutation($id: ID!) { redeliverWebhook(input: { deliveryId: $id }) { userErrors { code } } }";
        let answer = app.data_with(document, again).await;
        assert_eq!(answer["redeliverWebhook"]["userErrors"], json!([]));
        came(&mut smtp).await;
        delivery(app, |row| row["state"] == "DELIVERED").await;
    })
    .await;
}

#[tokio::test]
async fn a_password_is_not_sent_where_others_can_read_it() {
    on_each_database(async |app| {
        app.fleet().await;
        let smtp = Smtp::start(&["250 2.0.0 taken"]).await;
        restart(app, &smtp, ("me:hidden@", "")).await;
        create(app, "desk@shop.example").await;
        opened(app, &["till-1"]).await;
        let row = delivery(app, |row| row["error"].is_string()).await;
        let error = row["error"].as_str().unwrap();
        assert!(
            error.contains("STARTTLS") && !error.contains("hidden"),
            "{error}"
        );
        let heard = smtp.heard();
        let others = heard
            .iter()
            .filter(|line| !line.starts_with("EHLO") && *line != "QUIT");
        assert_eq!(others.count(), 0, "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn the_name_of_a_rule_adds_no_header_to_a_mail() {
    on_each_database(async |app| {
        let mut smtp = mailing(app, &["250 2.0.0 taken"]).await;
        create(app, "desk@shop.example").await;
        let document =
            "mutation($name: String!) { createAlertRule(input: { name: $name, severity: WARNING,
            watch: { state: { states: [ERROR] } } }) { userErrors { code message } } }";
        let name = "Tills\r\nBcc: thief@evil.example\r\n\r\nProfit ü";
        let made = app.data_with(document, json!({ "name": name })).await;
        assert_eq!(made["createAlertRule"]["userErrors"], json!([]), "{made:#}");
        app.record(json!([{ "deviceStateChange": { "deviceId": "till-3", "newState": "ERROR" } }]))
            .await;
        let mail = came(&mut smtp).await;
        assert_eq!(mail.to, "desk@shop.example");
        assert!(mail.headers("Bcc").is_empty(), "{mail:?}");
        assert!(mail.text.contains("Device: till-3"), "{mail:?}");
        assert!(!mail.text.contains("\nBcc"), "{mail:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_mailed_by_a_server_that_mails_nothing() {
    on_each_database(async |app| {
        let refused = create(app, "desk@shop.example").await;
        assert_eq!(refused["userErrors"][0]["code"], "NO_MAIL", "{refused:#}");
        assert_eq!(refused["userErrors"][0]["field"], "emailAddress");
        assert_eq!(refused["recipient"], Value::Null);
        let all = app.data("{ emailRecipients { recipientId } }").await;
        assert_eq!(all["emailRecipients"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_recipient_is_an_address_of_mail_that_is_changed_and_deleted_as_itself() {
    on_each_database(async |app| {
        let mut smtp = mailing(app, &["250 2.0.0 taken"]).await;
        for address in [
            "desk",
            "desk@",
            "@shop.example",
            "Desk <desk@shop.example>",
            "desk@shop.example\r\nRCPT TO:<thief@evil.example>",
            "\"desk\r\n\"@shop.example",
            "desk@shop.example, thief@evil.example",
        ] {
            let refused = create(app, address).await;
            let error = &refused["userErrors"][0];
            assert_eq!(
                (&error["field"], &error["code"]),
                (&json!("emailAddress"), &json!("INVALID")),
                "{address}: {refused:#}"
            );
        }
        let made = create(app, "desk@shop.example").await["recipient"].take();
        let id = json!({ "id": made["recipientId"] });
        assert_eq!(made["version"], "1");
        let update = "mutation($id: ID!) { updateEmailRecipient(input: { recipientId: $id, emailAddress: \"night@shop.example\",
            siteIds: [\"market\"], expectedVersion: \"1\" }) { recipient { emailAddress version siteIds states } userErrors { code } } }";
        let changed = app.data_with(update, id.clone()).await;
        assert_eq!(
            changed["updateEmailRecipient"]["recipient"],
            json!({ "emailAddress": "night@shop.example", "version": "2", "siteIds": ["market"], "states": ["OPEN", "RESOLVED"] })
        );
        let stale = app.data_with(update, id.clone()).await;
        assert_eq!(stale["updateEmailRecipient"]["userErrors"][0]["code"], "CONFLICT");
        // it is no webhook
        let lists = app.data("{ webhooks { webhookId } emailRecipients { emailAddress } }").await;
        assert_eq!(
            lists,
            json!({ "webhooks": [], "emailRecipients": [{ "emailAddress": "night@shop.example" }] })
        );
        let other = "mutation($id: ID!) { deleteWebhook(input: { webhookId: $id }) { webhook { url } userErrors { code } } }";
        let kept = app.data_with(other, id.clone()).await;
        assert_eq!(kept["deleteWebhook"]["userErrors"][0]["code"], "NOT_FOUND");
        opened(app, &["till-1"]).await;
        opened(app, &["till-3"]).await;
        let mail = came(&mut smtp).await;
        assert_eq!(mail.to, "night@shop.example");
        // what came before was of another site
        let rows = deliveries(app).await;
        for row in rows.as_array().unwrap() {
            assert_eq!(row["body"]["event"]["alertTransition"]["siteId"], "market", "{row}");
        }
        let delete = "mutation($id: ID!) { deleteEmailRecipient(input: { recipientId: $id }) { recipient { version } userErrors { code } } }";
        let gone = app.data_with(delete, id).await;
        assert_eq!(gone["deleteEmailRecipient"], json!({ "recipient": null, "userErrors": [] }));
    })
    .await;
}
