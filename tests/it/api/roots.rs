//! A field at the root stands under its key once, however often it is asked for there: a command is
//! executed once.

use serde_json::{Value, json};

use super::app::{TestApp, on_each_database};

/// How often a job was made.
async fn jobs(app: &TestApp) -> Value {
    app.data("{ jobs { totalCount } }").await["jobs"]["totalCount"].clone()
}

/// A command that makes a job, with what is asked of it.
fn create(key: &str, asked: &str) -> String {
    let input = r#"{ jobType: RESTART, deviceIds: ["till-1"] }"#;
    format!("{key}: createJob(input: {input}) {{ {asked} }}")
}

/// What is answered to a request, as text.
async fn answered(app: &TestApp, document: &str, variables: Value) -> String {
    app.text(json!({ "query": document, "variables": variables }))
        .await
}

#[tokio::test]
async fn a_command_that_stands_twice_under_one_key_is_executed_once() {
    on_each_database(async |app| {
        app.fleet().await;
        let first = create("a", "job { jobType }");
        let cancel = r#"b: cancelJob(input: { jobId: "none" }) { userErrors { code } }"#;
        let again = create(
            "a",
            "userErrors { code } job { targets { device { deviceId } } jobType }",
        );
        let document = format!("mutation {{ {first} {cancel} {again} {first} }}");
        let text = answered(app, &document, json!({})).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @r#"{"data":{"a":{"job":{"jobType":"RESTART","targets":[{"device":{"deviceId":"till-1"}}]},"userErrors":[]},"b":{"userErrors":[{"code":"NOT_FOUND"}]}}}"#);
        }
        assert_eq!(jobs(app).await, "1");
        // under keys of their own they are two commands
        let other = create("b", "job { jobType }");
        app.data(&format!("mutation {{ {first} {other} }}")).await;
        assert_eq!(jobs(app).await, "3");
    })
    .await;
}

#[tokio::test]
async fn fragments_at_the_root_are_merged_with_what_stands_beside_them() {
    on_each_database(async |app| {
        app.fleet().await;
        let [first, inner, last] = ["jobType", "createdBy", "devicesTargeted"]
            .map(|field| create("a", &format!("job {{ {field} }}")));
        let document = format!(
            "mutation {{ ...F ... on Mutation {{ {last} ... {{ ...F ...G }} }} ...G }}
             fragment F on Mutation {{ {first} ...G }} fragment G on Mutation {{ {inner} __typename }}"
        );
        let text = answered(app, &document, json!({})).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @r#"{"data":{"a":{"job":{"jobType":"RESTART","createdBy":"local","devicesTargeted":1}},"__typename":"Mutation"}}"#);
        }
        assert_eq!(jobs(app).await, "1");
        // a fragment that is spread twice says the same once
        let once = create("a", "job { jobType }");
        let document = format!("mutation {{ ...F ...F }} fragment F on Mutation {{ {once} }}");
        app.data(&document).await;
        assert_eq!(jobs(app).await, "2");
    })
    .await;
}

/// What is left out is not merged, and what it alone uses is used all the same.
#[tokio::test]
async fn what_is_left_out_at_the_root_has_no_part_in_what_is_merged() {
    on_each_database(async |app| {
        app.fleet().await;
        let kind = create("a", "job { jobType }");
        let codes = create("a", "userErrors { code }");
        let with =
            |field: &str, directive: &str| field.replacen(") {", &format!(") {directive} {{"), 1);
        let (skip, include) = ("@skip(if: $no)", "@include(if: $no)");
        let both = r#"{"job":{"jobType":"RESTART"},"userErrors":[]}"#;
        let turned = r#"{"userErrors":[],"job":{"jobType":"RESTART"}}"#;
        let (kinds, alone) = (r#"{"job":{"jobType":"RESTART"}}"#, r#"{"userErrors":[]}"#);
        let mut made = 0;
        for (root, expected) in [
            (format!("{kind} {}", with(&codes, skip)), both),
            (format!("{} {codes}", with(&kind, skip)), both),
            (format!("{kind} {}", with(&codes, include)), kinds),
            (format!("{} {codes}", with(&kind, include)), alone),
            (format!("{} {codes} {kind}", with(&kind, include)), turned),
            (format!("{kind} {kind} ... {include} {{ {codes} }}"), kinds),
            (format!("{kind} ... {skip} {{ {codes} }}"), both),
            (
                format!("{kind} {kind} ... {skip} @include(if: false) {{ {codes} }}"),
                kinds,
            ),
            (format!("...F {include} {kind} ...F {skip} ...F"), both),
            (format!("{kind} {kind} ...F {include}"), kinds),
        ] {
            let rest = if root.contains("...F") {
                format!("fragment F on Mutation {{ {codes} }}")
            } else {
                String::new()
            };
            // given, and by default
            for (of, variables) in [("!", json!({ "no": false })), (" = false", json!({}))] {
                let document = format!("mutation($no: Boolean{of}) {{ {root} }} {rest}");
                let text = answered(app, &document, variables).await;
                assert_eq!(
                    text,
                    format!("{{\"data\":{{\"a\":{expected}}}}}"),
                    "{document}"
                );
                made += 1;
            }
        }
        assert_eq!(jobs(app).await, made.to_string());
    })
    .await;
}

#[tokio::test]
async fn keys_stand_in_the_order_in_which_they_first_do() {
    on_each_database(async |app| {
        app.fleet().await;
        let document = "query($no: Boolean = false) { viewer @include(if: $no) { name }
              a: viewer { role } ...F devices(first: 1) { nodes { deviceId } } viewer { name } a: viewer { name } }
            fragment F on Query { b: storeHealth { __typename } devices(first: 1) { totalCount nodes { name } } }";
        let text = answered(app, document, json!({})).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @r#"{"data":{"a":{"role":"ADMIN","name":"local"},"b":{"__typename":"StoreHealth"},"devices":{"totalCount":"3","nodes":[{"name":"Till till-1","deviceId":"till-1"}]},"viewer":{"name":"local"}}}"#);
        }
        let left_out = "query($no: Boolean = true) { a: viewer @skip(if: $no) { name } a: viewer @skip(if: $no) { role } }";
        assert_eq!(answered(app, left_out, json!({})).await, r#"{"data":{}}"#);
    })
    .await;
}

/// Also where they are in fragments, of which the library looks at each alone.
#[tokio::test]
async fn what_is_not_the_same_under_one_key_is_refused_and_not_executed() {
    on_each_database(async |app| {
        app.fleet().await;
        let first = create("a", "job { jobType }");
        let other = first.replace("RESTART", "HEALTH_CHECK");
        let cancel = r#"a: cancelJob(input: { jobId: "none" }) { userErrors { code } }"#;
        for conflicting in [&other, cancel] {
            for document in [
                format!("mutation {{ {first} {conflicting} }}"),
                format!("mutation {{ {first} ... on Mutation {{ {conflicting} }} }}"),
                format!("mutation {{ {first} ...F }} fragment F on Mutation {{ {conflicting} }}"),
                format!(
                    "mutation {{ {first} ... on Mutation @skip(if: true) {{ {conflicting} }} }}"
                ),
            ] {
                let answer = app.query(json!({ "query": document })).await;
                let error = &answer["errors"][0];
                assert_eq!(
                    error["extensions"]["code"], "VALIDATION_FAILED",
                    "{document}: {answer}"
                );
                let message = error["message"].as_str().unwrap();
                assert!(
                    message.starts_with("Fields \"a\" conflict because"),
                    "{message}"
                );
                assert_eq!(error["locations"].as_array().unwrap().len(), 2, "{answer}");
            }
        }
        assert_eq!(jobs(app).await, "0");
    })
    .await;
}
