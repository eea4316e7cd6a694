//! The record of actions.

use std::future::poll_fn;
use std::sync::{mpsc, Mutex};
use std::task::Poll;

use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::http::StatusCode;
use actix_web::test::{call_service, init_service};
use actix_web::App;
use serde_json::json;
use support::{eventually, logs, ms, pass};

use crate::client::*;

#[actix::test]
async fn actions_are_logged_with_the_viewer() {
    logs::listen();
    let chat = pool("logged").await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let suspend = post_request("/dashboard/api/pools/0/suspend", json!({"mode": "hold"}));
    let suspend = suspend.insert_header(("authorization", format!("Bearer {TOKEN}")));
    assert_eq!(call(&dashboard, suspend).await.status, StatusCode::OK);
    let lines = logs::lines(|line| line.is("pool", "logged") && line.is("action", "suspend"));
    assert_eq!(lines.len(), 1);
    let of = |field: &str| lines[0].fields[field].as_str();
    assert_eq!((of("peer"), of("session"), lines[0].message()), ("127.0.0.1:50000", "token", "dashboard action"));
    assert_eq!((of("parameters"), of("outcome")), (r#"{"mode":"hold"}"#, r#"ok: {"status":{"suspended":"hold"}}"#));
    assert!(lines.iter().all(|line| line.fields.values().all(|value| !value.contains(TOKEN))));
}

#[actix::test]
async fn a_session_is_traced_to_its_sign_in() {
    logs::listen();
    let chat = pool("traced").await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let peer = "192.0.2.44:4444".parse().unwrap();
    let login = call(&dashboard, post_request("/dashboard/login", json!({ "token": TOKEN })).peer_addr(peer)).await;
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let act = |path: &str, body| post_request(path, body).peer_addr(peer).insert_header(("cookie", cookie.clone()));
    call(&dashboard, act("/dashboard/api/pools/0/suspend", json!({"mode": "hold"}))).await;
    call(&dashboard, act("/dashboard/logout", json!({}))).await;
    let lines = logs::lines(|line| line.is("peer", "192.0.2.44:4444"));
    let outcomes: Vec<_> = lines.iter().map(|line| line.fields["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["signed in", r#"ok: {"status":{"suspended":"hold"}}"#, "signed out"]);
    let session = lines[0].fields["session"].clone();
    assert!(session.starts_with("session ") && lines.iter().all(|line| line.is("session", &session)), "{lines:?}");
}

#[actix::test]
async fn actions_that_cannot_begin_are_logged() {
    logs::listen();
    let chat = pool("lookups").await;
    let dashboard = dashboard(&chat);
    for (path, code) in [
        ("pools/0/connections/999001/kill", "not_found"),
        ("pools/0/connections/999001/close", "not_found"),
        ("pools/no-such-999001/suspend", "not_found"),
        ("pools/0/deny?999001", "invalid_body"),
    ] {
        let body = if path.contains("suspend") { json!({"mode": "hold"}) } else { json!({}) };
        assert_eq!(call(&dashboard, post_request(&format!("/dashboard/api/{path}"), body)).await.code(), code);
    }
    let lines = logs::lines(|line| line.is("action", "refused") && line.fields["outcome"].starts_with("not_found"));
    assert_eq!(lines.iter().filter(|line| line.fields["parameters"].contains("999001")).count(), 3);
    let lines = logs::lines(|line| line.is("action", "refused") && line.fields["outcome"].starts_with("invalid_body"));
    assert!(lines.iter().any(|line| line.fields["parameters"].ends_with("/deny")), "{lines:?}");
}

#[actix::test]
async fn texts_to_peers_are_not_logged() {
    logs::listen();
    let chat = pool("discreet").await;
    let dashboard = dashboard(&chat);
    let mut ann = guest(&chat, "hello").await;
    post(&dashboard, "/send", json!({"text": "confidential", "to": "all"})).await;
    ann.expect(b"confidential\n").await;
    post(&dashboard, "/connections/1/close", json!({"text": "confidential"})).await;
    let lines = logs::lines(|line| line.is("pool", "discreet") && line.message() == "dashboard action");
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(line.fields["parameters"].contains(r#""text":"12 characters""#), "{line:?}");
        assert!(line.fields.values().all(|value| !value.contains("confidential")), "{line:?}");
    }
    let events = call(&dashboard, get_request("/dashboard/api/events")).await;
    assert!(!String::from_utf8_lossy(&events.body).contains("confidential"));
}

#[actix::test]
async fn an_action_whose_viewer_has_left_is_logged() {
    logs::listen();
    let chat = pool("abandoned").await;
    let ((begins, begun), (ends, end)) = (mpsc::channel(), mpsc::channel::<()>());
    let gate = Mutex::new((begins, end));
    let reload = move || {
        let gate = gate.lock().unwrap();
        let _ = gate.0.send(());
        let _ = gate.1.recv();
        Ok(())
    };
    let dashboard = Dashboard::new(DashboardPool::from(&chat).on_reload_certificates(reload));
    let app = init_service(App::new().service(dashboard)).await;
    let request = post_request("/dashboard/api/pools/0/certificates", json!({})).to_request();
    let mut response = Box::pin(call_service(&app, request));
    let mut has_begun = false;
    while !has_begun {
        poll_fn(|cx| {
            assert!(response.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        has_begun = begun.try_recv().is_ok();
        pass(ms(1)).await;
    }
    drop(response);
    drop(ends);
    let logged = || logs::lines(|line| line.is("pool", "abandoned") && line.is("action", "certificates"));
    eventually(|| !logged().is_empty()).await;
    assert!(logged()[0].fields["outcome"].starts_with("unknown"), "{:?}", logged());
}
