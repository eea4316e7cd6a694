//! What peers send is data: in JSON, in events, in the log and in metrics.

use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::http::StatusCode;
use serde_json::json;
use support::logs;

use crate::client::*;

const MARKUP: &str = "<script>alert('1')</script>\"&\u{1b}[31m\r\u{202e}end";

/// A text in the path or the query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[actix::test]
async fn hostile_texts_are_data() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut peer = guest(&chat, &format!("label {MARKUP}")).await;
    peer.echo(format!("join {MARKUP}\n")).await;
    peer.echo(format!("name {MARKUP}\n")).await;
    let filter = encoded("<SCRIPT>");
    let connections = get(&dashboard, &format!("/connections?filter={filter}")).await;
    assert_eq!(connections["connections"][0]["label"], MARKUP);
    let topics = get(&dashboard, &format!("/topics?filter={filter}")).await;
    assert_eq!(topics["topics"], json!([{"name": MARKUP, "members": 1}]));
    let topic = get(&dashboard, &format!("/topic?name={}", encoded(MARKUP))).await;
    assert_eq!((&topic["name"], &topic["members"]), (&json!(MARKUP), &json!(1)));
    let names = get(&dashboard, "/names").await;
    assert_eq!(names["names"], json!([{"name": MARKUP, "connection": 1}]));
    let sent = post(&dashboard, "/send", json!({"text": "hello", "to": {"topic": MARKUP}})).await;
    assert_eq!(sent.json()["delivered"], 1);
    peer.expect(b"hello\n").await;
    let answer = call(&dashboard, get_request("/dashboard/api/pools/0/connections/1")).await;
    // Browsers never take it for a page.
    assert_eq!(
        (answer.header("content-type"), answer.header("x-content-type-options")),
        ("application/json", "nosniff")
    );
}

#[actix::test]
async fn hostile_paths_name_no_pool() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    for name in [MARKUP, "../0", "..", "0/../0", "\0", "%", ""] {
        let path = format!("/dashboard/api/pools/{}/history", encoded(name));
        let answer = call(&dashboard, get_request(&path)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "not_found".to_owned()), "{name:?}");
        assert!(!answer.body.contains(&b'\n') && !answer.body.contains(&0x1b));
    }
}

#[actix::test]
async fn hostile_parameters_stay_in_their_log_line() {
    logs::listen();
    let chat = pool("hostile").await;
    let dashboard = dashboard(&chat);
    let text = format!("hello\n2030-01-01 INFO forged\u{2028}{MARKUP}");
    let answer = post(&dashboard, "/deny", json!({ "address": text })).await;
    assert_eq!(answer.code(), "invalid_parameter");
    post(&dashboard, "/send", json!({"text": "x".repeat(50_000), "to": "all"})).await;
    let lines = logs::lines(|line| line.is("pool", "hostile") && line.message() == "dashboard action");
    assert_eq!(lines.len(), 2);
    for value in lines.iter().flat_map(|line| line.fields.values()) {
        assert!(!value.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{202e}'), "{value:?}");
        assert!(value.chars().count() <= 201);
    }
    let events = call(&dashboard, get_request("/dashboard/api/events?pool=0")).await.json();
    for event in events["events"].as_array().unwrap() {
        let text = event["text"].as_str().unwrap();
        assert!(!text.contains(char::is_control) && text.chars().count() <= 301, "{text:?}");
    }
    assert_eq!(events["events"][0]["kind"], "action");
}

#[actix::test]
async fn hostile_outcomes_and_names_stay_in_their_log_line() {
    logs::listen();
    let chat = pool("outcomes\n2030-01-01 INFO forged").await;
    let _ann = guest(&chat, "hello").await;
    // What the program says about a text may contain it.
    let dashboard = Dashboard::new(DashboardPool::with_text(&chat, |text| panic!("no reply for {text}")));
    let answer = post(&dashboard, "/send", json!({"text": format!("a\n{MARKUP}"), "to": "all"})).await;
    assert_eq!(answer.code(), "failed");
    let of_pool = |line: &logs::Line| line.fields.get("pool").is_some_and(|pool| pool.starts_with("outcomes"));
    let lines = logs::lines(|line| line.message() == "dashboard action" && of_pool(line));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].fields["outcome"].contains("no reply for a\\n<script>"), "{:?}", lines[0].fields);
    for value in lines[0].fields.values() {
        assert!(!value.contains(|c: char| c.is_control() || c == '\u{202e}'), "{value:?}");
    }
}

#[actix::test]
async fn a_hostile_pool_name_is_escaped_in_metrics() {
    let chat = pool("a\"b\\c\nacceptor_ready 7").await;
    let dashboard = dashboard(&chat);
    let metrics = call(&dashboard, get_request("/dashboard/metrics")).await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains(r#"acceptor_ready{pool="a\"b\\c\nacceptor_ready 7",id="0"} 1"#), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("acceptor_ready 7")));
}
