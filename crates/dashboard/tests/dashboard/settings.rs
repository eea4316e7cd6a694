//! Settings: listed, changed, and refused by the library's own errors.

use actix_web::http::StatusCode;
use serde_json::{json, Value};
use support::connect;

use crate::client::*;

fn named<'a>(settings: &'a Value, name: &str) -> &'a Value {
    settings["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name).unwrap()
}

#[actix::test]
async fn settings_are_listed_with_unit_and_default() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let settings = get(&dashboard, "/settings").await;
    let idle = named(&settings, "idle_timeout");
    assert_eq!((&idle["value"], &idle["default"]), (&json!("never"), &json!("1m")));
    assert_eq!((&idle["unit"], &idle["takes_effect"]), (&json!("duration"), &json!("new_connections")));
    assert_eq!(named(&settings, "watchdog")["takes_effect"], "restart");
    assert_eq!(named(&settings, "outbox")["unit"], "bytes");
    assert_eq!(named(&settings, "max_connections")["takes_effect"], "at_once");
    let of_library = serde_json::to_value(chat.settings()).unwrap();
    assert_eq!(settings["settings"].as_array().unwrap().len(), of_library.as_object().unwrap().len());
    for (name, value) in of_library.as_object().unwrap() {
        assert_eq!(&named(&settings, name)["value"], value);
    }
}

#[actix::test]
async fn a_lower_limit_refuses_the_next_peer() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let _ann = guest(&chat, "hello").await;
    let answer = post(&dashboard, "/settings", json!({"max_connections": 1, "at_limit": "close"})).await;
    let changed = json!({
        "max_connections": {"old": 16_384, "new": 1}, "at_limit": {"old": "wait", "new": "close"},
    });
    assert_eq!(answer.json(), json!({ "changed": changed }));
    connect(&chat).await.expect_closed_after("").await;
    assert_eq!(get(&dashboard, "").await["info"]["refused"]["limit"], 1);
}

#[actix::test]
async fn invalid_settings_are_named_and_change_nothing() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let before = chat.settings();
    let patch = json!({"max_connections": 0, "max_per_peer": 3, "watchdog": "1s"});
    let answer = post(&dashboard, "/settings", patch).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid_settings".to_owned()));
    let settings = &answer.json()["error"]["settings"];
    assert_eq!(settings[0], json!({"setting": "max_connections", "why": "must be at least 1 (got 0)"}));
    assert_eq!(settings[1]["setting"], "watchdog");
    for patch in [json!({"no_such": 1}), json!({"max_connections": "many"}), json!([]), json!({"grace": "soon"})] {
        let answer = post(&dashboard, "/settings", patch.clone()).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid_body".to_owned()), "{patch}");
    }
    assert_eq!(chat.settings(), before);
}

#[actix::test]
async fn settings_that_others_have_changed_are_not_overwritten() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let rules = named(&get(&dashboard, "/settings").await, "rules")["value"].clone();
    post(&dashboard, "/deny", json!({"address": "192.0.2.1"})).await;
    let stale =
        json!({"rules": ["deny 192.0.2.2"], "max_connections": 5, "was": {"rules": rules, "max_connections": 16_384}});
    let answer = post(&dashboard, "/settings", stale).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "changed".to_owned()));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("rules changed in the meantime"));
    let settings = get(&dashboard, "/settings").await;
    assert_eq!(named(&settings, "rules")["value"], json!(["deny 192.0.2.1/32"]));
    assert_eq!(named(&settings, "max_connections")["value"], 16_384);
    let fresh = json!({"max_connections": 5, "was": {"max_connections": 16_384, "rules": ["deny 192.0.2.1/32"]}});
    let answer = post(&dashboard, "/settings", fresh).await.json();
    assert_eq!(answer, json!({"changed": {"max_connections": {"old": 16_384, "new": 5}}}));
    for wrong in [json!({"was": 5}), json!({"max_connections": 5, "was": {"no_such": 1}})] {
        let answer = post(&dashboard, "/settings", wrong.clone()).await;
        assert!(["invalid_body", "changed"].contains(&answer.code().as_str()), "{wrong}");
    }
}
