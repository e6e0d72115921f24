//! Jobs as a list: pages, the filter, and each as a node.

use serde_json::{Value, json};

use super::app::{TestApp, on_each_database, texts};

/// Makes jobs, each a second later than the one before, and cancels the second.
async fn make(app: &TestApp, jobs: &[&str]) {
    app.fleet().await;
    for (n, job) in jobs.iter().enumerate() {
        let create = format!(
            "mutation {{ createJob(input: {{ jobType: CUSTOM, name: \"{job}\", deviceIds: [\"till-1\"] }}) {{ job {{ jobId }} }} }}"
        );
        let data = app.data(&create).await;
        app.clock.advance_ms(1_000);
        if n == 1 {
            let input = json!({ "input": { "jobId": data["createJob"]["job"]["jobId"] } });
            let cancel =
                "mutation($input: CancelJobInput!) { cancelJob(input: $input) { job { state } } }";
            app.data_with(cancel, input).await;
        }
    }
}

async fn page(app: &TestApp, arguments: &str) -> Value {
    let document = format!(
        "{{ jobs({arguments}) {{ totalCount nodes {{ jobType }} edges {{ cursor }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    app.data(&document).await["jobs"].take()
}

fn shown(page: &Value) -> String {
    let info = |name: &str| page["pageInfo"][name].as_bool().unwrap();
    let types = texts(&page["nodes"], "jobType").join(" ");
    let before = if info("hasPreviousPage") { "<" } else { "" };
    let after = if info("hasNextPage") { ">" } else { "" };
    format!("{before}{types}{after}")
}

#[tokio::test]
async fn jobs_are_paged_both_ways_and_a_page_knows_its_neighbours() {
    on_each_database(async |app| {
        make(app, &["A", "B", "C", "D", "E"]).await;
        let first = page(app, "first: 2").await;
        assert_eq!(shown(&first), "E D>");
        assert_eq!(first["totalCount"], "5");
        let end = first["pageInfo"]["endCursor"].as_str().unwrap();
        let second = page(app, &format!("first: 2, after: \"{end}\"")).await;
        assert_eq!(shown(&second), "<C B>");
        let end = second["pageInfo"]["endCursor"].as_str().unwrap();
        let third = page(app, &format!("first: 2, after: \"{end}\"")).await;
        assert_eq!(shown(&third), "<A");
        let start = second["pageInfo"]["startCursor"].as_str().unwrap();
        let back = page(app, &format!("last: 1, before: \"{start}\"")).await;
        assert_eq!(shown(&back), "<D>");
        assert_eq!(shown(&page(app, "last: 2").await), "<B A");
        let newest = first["edges"][0]["cursor"].as_str().unwrap();
        let none = page(app, &format!("last: 2, before: \"{newest}\"")).await;
        assert_eq!(shown(&none), ">");
    })
    .await;
}

#[tokio::test]
async fn jobs_are_filtered_by_their_state() {
    on_each_database(async |app| {
        make(app, &["A", "B", "C"]).await;
        for (filter, jobs) in [
            ("state: { eq: CANCELLED }", "B"),
            ("state: { in: [QUEUED, RUNNING] }", "C A"),
            ("state: { in: [QUEUED, CANCELLED], eq: CANCELLED }", "B"),
            ("state: { in: [] }", ""),
            ("state: { isNull: false }", "C B A"),
            ("", "C B A"),
        ] {
            let found = page(app, &format!("filter: {{ {filter} }}")).await;
            assert_eq!(
                texts(&found["nodes"], "jobType").join(" "),
                jobs,
                "{filter}"
            );
            assert_eq!(
                found["totalCount"],
                json!(jobs.split_whitespace().count().to_string())
            );
        }
    })
    .await;
}

#[tokio::test]
async fn jobs_are_filtered_by_their_type_parent_site_and_device() {
    on_each_database(async |app| {
        make(app, &["A", "B"]).await;
        let retry = "mutation($id: ID!) { retryJob(input: { jobId: $id }) { job { jobId } } }";
        let cancelled = "{ jobs(filter: { state: { eq: CANCELLED } }) { nodes { jobId } } }";
        let cancelled = app.data(cancelled).await["jobs"]["nodes"][0]["jobId"].take();
        app.clock.advance_ms(1_000);
        app.data_with(retry, json!({ "id": cancelled })).await;
        for (filter, jobs) in [
            ("jobType: \"A\"".to_owned(), "A"),
            ("jobType: \"A\", state: { eq: CANCELLED }".to_owned(), ""),
            (format!("parentJobId: {cancelled}"), "B"),
            ("parentJobId: \"none\"".to_owned(), ""),
            ("deviceId: \"till-1\"".to_owned(), "B B A"),
            ("deviceId: \"till-1\", jobType: \"B\"".to_owned(), "B B"),
            ("deviceId: \"till-2\"".to_owned(), ""),
            ("siteId: \"harbour\"".to_owned(), "B B A"),
            ("siteId: \"market\"".to_owned(), ""),
            ("siteId: 7".to_owned(), ""),
        ] {
            let found = page(app, &format!("first: 3, filter: {{ {filter} }}")).await;
            assert_eq!(shown(&found), jobs, "{filter}");
            let count = jobs.split_whitespace().count();
            assert_eq!(found["totalCount"], json!(count.to_string()), "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_jobs_that_cannot_be_is_refused() {
    on_each_database(async |app| {
        for arguments in [
            "first: -1",
            "first: 101",
            "last: 101",
            "last: -1",
            "first: 1, last: 1",
            "after: \"garbage\"",
            "before: \"am9iOjE6eAA\"",
            "filter: { state: null }",
            "filter: { state: { eq: null } }",
            "filter: { state: QUEUED }",
            "filter: { jobType: 7 }",
            "filter: { jobType: null }",
            "filter: { parentJobId: null }",
            "filter: { deviceId: [] }",
            "filter: { deviceId: \"a\\u0000b\" }",
            "filter: { siteId: { eq: \"site-1\" } }",
        ] {
            let document = format!("{{ jobs({arguments}) {{ nodes {{ jobId }} }} }}");
            assert_eq!(app.code(&document).await, "BAD_INPUT", "{arguments}");
        }
        let filter = json!({ "filter": { "state": { "eq": null } } });
        let document = "query($filter: JobFilter) { jobs(filter: $filter) { nodes { jobId } } }";
        assert_eq!(app.code_with(document, filter).await, "BAD_INPUT");
    })
    .await;
}

#[tokio::test]
async fn a_job_is_a_node() {
    on_each_database(async |app| {
        make(app, &["A"]).await;
        let data = app.data("{ jobs { nodes { id jobId __typename } } }").await;
        let job = &data["jobs"]["nodes"][0];
        let document = "query($id: ID!) { node(id: $id) { id __typename ... on Job { jobId } } }";
        let data = app.data_with(document, json!({ "id": job["id"] })).await;
        assert_eq!(data["node"], *job);
    })
    .await;
}

#[tokio::test]
async fn a_job_id_that_cannot_be_is_bad_input() {
    on_each_database(async |app| {
        let document = "{ job(jobId: \"a\\u0000b\") { state } }";
        assert_eq!(app.code(document).await, "BAD_INPUT");
    })
    .await;
}
