//! Drains: the time that is left, and the report.

use std::time::Duration;

use actix_acceptor::info::Status;
use actix_acceptor::{AcceptorPool, Drain, Framing, PoolConfig};
use actix_web::http::StatusCode;
use serde_json::json;
use support::{eventually, in_time};

use crate::client::*;

#[actix::test]
async fn a_drain_is_counted_down_and_reported() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut ann = guest(&chat, "hello").await;
    assert_eq!(get(&dashboard, "").await["drain"], json!(null));
    let answer = post(&dashboard, "/drain", json!({"grace": 600})).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::ACCEPTED, json!({"draining": true})));
    let draining = until(&dashboard, "/api/pools/0", |pool| pool["drain"]["so_far"]["asked"] == 1).await;
    let drain = &draining["drain"];
    assert_eq!((&drain["delay_left"], &drain["report"]), (&json!(0.0), &json!(null)));
    assert!((500.0..=600.0).contains(&drain["remaining"].as_f64().unwrap()), "{drain}");
    post(&dashboard, "/drain", json!({"grace": 0})).await;
    ann.until_gone().await;
    in_time(chat.stopped()).await.unwrap();
    let ended = until(&dashboard, "/api/pools/0", |pool| !pool["drain"]["report"].is_null()).await;
    let (drain, report) = (&ended["drain"], &ended["drain"]["report"]);
    assert_eq!((&report["asked"], &report["forced"]), (&json!(1), &json!(1)));
    let none = json!(null);
    assert_eq!((&drain["remaining"], &drain["delay_left"], &drain["so_far"]), (&none, &none, &none));
    assert_eq!(post(&dashboard, "/drain", json!({})).await.code(), "not_running");
}

#[actix::test]
async fn a_second_drain_shortens_the_countdown() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let _ann = guest(&chat, "hello").await;
    post(&dashboard, "/drain", json!({"grace": null})).await;
    eventually(|| chat.status() == Status::Draining).await;
    assert_eq!(get(&dashboard, "").await["drain"]["remaining"], json!(null));
    // By a viewer, and by the program.
    post(&dashboard, "/drain", json!({"grace": 6000})).await;
    let is_below = |limit: f64| {
        move |pool: &serde_json::Value| pool["drain"]["remaining"].as_f64().is_some_and(|left| left <= limit)
    };
    until(&dashboard, "/api/pools/0", is_below(6000.0)).await;
    let by_program = chat.clone();
    actix::spawn(async move { by_program.drain(Drain::grace(Duration::from_secs(600))).await });
    let shortened = until(&dashboard, "/api/pools/0", is_below(600.0)).await;
    assert!(shortened["drain"]["remaining"].as_f64() > Some(500.0), "{shortened}");
    chat.stop(Duration::ZERO).await;
}

#[actix::test]
async fn a_grace_period_keeps_the_configured_delay() {
    let config: PoolConfig = serde_json::from_value(json!({"drain": {"delay": "1h"}})).unwrap();
    let builder = AcceptorPool::with_protocol(|_| Guest).framing(Framing::lines()).acceptors(1).config(&config);
    let chat = builder.bind("127.0.0.1:0").await.unwrap();
    let dashboard = dashboard(&chat);
    post(&dashboard, "/drain", json!({"grace": 600})).await;
    let drain = until(&dashboard, "/api/pools/0", |pool| !pool["drain"].is_null()).await["drain"].clone();
    let (delay, all) = (drain["delay_left"].as_f64().unwrap(), drain["remaining"].as_f64().unwrap());
    assert!((3_500.0..=3_600.0).contains(&delay) && (4_100.0..=4_200.0).contains(&all), "{drain}");
    // Both are counted down.
    let is_less = |pool: &serde_json::Value| {
        pool["drain"]["delay_left"].as_f64() < Some(delay) && pool["drain"]["remaining"].as_f64() < Some(all)
    };
    until(&dashboard, "/api/pools/0", is_less).await;
    // Not ready, but still accepting.
    guest(&chat, "hello").await;
    chat.stop(Duration::ZERO).await;
}

#[actix::test]
async fn a_drain_from_before_the_dashboard_is_shown() {
    let chat = chat().await;
    let _ann = guest(&chat, "hello").await;
    let by_program = chat.clone();
    actix::spawn(async move { by_program.drain(Drain::grace(Duration::from_secs(600))).await });
    eventually(|| chat.status() == Status::Draining).await;
    let dashboard = dashboard(&chat);
    let drain = get(&dashboard, "").await["drain"].clone();
    assert!(
        drain["remaining"].as_f64() > Some(500.0) && drain["started_ms"].as_u64() > Some(1_700_000_000_000),
        "{drain}"
    );
    chat.stop(Duration::ZERO).await;
}
