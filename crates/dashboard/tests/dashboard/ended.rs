//! The dashboard of a pool that has ended.

use std::time::Duration;

use actix_web::http::StatusCode;
use serde_json::json;
use support::eventually;

use crate::client::*;

#[actix::test]
async fn a_pool_that_has_ended_is_shown_with_its_report() {
    let (chat, feed) = (chat().await, pool("feed").await);
    let dashboard = dashboard(&chat).pool(&feed);
    let _ann = guest(&chat, "join lobby").await;
    // By the program, and not by the dashboard.
    chat.stop(Duration::ZERO).await;
    eventually(|| chat.connections() == 0).await;
    let ended = until(&dashboard, "/api/pools/0", |pool| !pool["drain"]["report"].is_null()).await;
    assert_eq!((&ended["ready"], &ended["info"]["status"]), (&json!(false), &json!("ended")));
    assert_eq!((&ended["drain"]["report"]["asked"], &ended["drain"]["remaining"]), (&json!(1), &json!(null)));
    assert_eq!(ended["listeners"], json!([]));
    for path in ["/history", "/connections", "/topics", "/topic?name=lobby", "/names", "/settings"] {
        get(&dashboard, path).await;
    }
    for (path, body) in [
        ("/suspend", json!({"mode": "hold"})),
        ("/resume", json!({})),
        ("/settings", json!({"max_connections": 5})),
        ("/deny", json!({"address": "192.0.2.1"})),
        ("/drain", json!({"grace": 1})),
    ] {
        let answer = post(&dashboard, path, body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "not_running".to_owned()), "{path}");
    }
    // The others go on.
    let other = call(&dashboard, get_request("/dashboard/api/pools/feed")).await.json();
    assert_eq!(other["ready"], true);
    assert_eq!(call(&dashboard, get_request("/dashboard/metrics")).await.status, StatusCode::OK);
}

#[actix::test]
async fn a_dashboard_does_not_keep_a_pool_alive() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    get(&dashboard, "").await;
    drop(dashboard);
    // Its observer is removed with it, and its thread ends.
    guest(&chat, "hello").await;
    chat.stop(None).await;
}
