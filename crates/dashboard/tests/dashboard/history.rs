//! The history of a pool.

use serde_json::Value;

use crate::client::*;

#[actix::test]
async fn the_history_begins_with_the_first_use() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut ann = guest(&chat, "hello").await;
    for _ in 0..50 {
        ann.echo("hello\n").await;
    }
    // The first request starts it.
    let has_values = |history: &Value| history["times_ms"].as_array().is_some_and(|times| times.len() >= 2);
    let history = until(&dashboard, "/api/pools/0/history", has_values).await;
    for column in ["accepted", "packets", "bytes_in"] {
        assert!(history[column].as_array().unwrap().iter().all(|value| value == 0.0), "{column}: {history}");
    }
    assert_eq!(history["connections"][0], 1);
    // What follows is counted.
    ann.echo("hello\n").await;
    let has_packet =
        |history: &Value| history["packets"].as_array().unwrap().iter().any(|value| value.as_f64() > Some(0.0));
    until(&dashboard, "/api/pools/0/history", has_packet).await;
}
