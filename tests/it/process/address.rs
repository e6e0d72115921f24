//! Until there are access keys, only this machine may reach the server.

use super::api::Api;
use super::database::Database;

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let database = Database::sqlite();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let ended = database.run(&["serve", "--listen", address]);
        ended.refused(&["can be reached from other machines", "listen on 127.0.0.1"]);
    }
    assert!(!database.file().exists(), "nothing was made");
}

#[tokio::test]
async fn a_foreign_host_header_is_refused() {
    let database = Database::sqlite();
    let (_server, address) = database.serve();
    let api = Api::new();
    for path in [
        "/graphql?query={__typename}",
        "/graphiql",
        "/readyz",
        "/metrics",
        "/healthz",
    ] {
        let url = format!("{address}{path}");
        assert_eq!(api.get(&url, Some("evil.example")).await.0, 421, "{path}");
        assert_eq!(api.get(&url, Some("localhost:1234")).await.0, 200, "{path}");
    }
}
