//! Actions, with their effect at TCP clients.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::http::StatusCode;
use serde_json::json;
use support::{connect, eventually, in_time, Peer};
use tokio::net::TcpSocket;

use crate::client::*;

#[actix::test]
async fn a_pool_is_suspended_and_resumed() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut before = guest(&chat, "hello").await;
    for mode in ["hold", "close"] {
        let answer = post(&dashboard, "/suspend", json!({ "mode": mode })).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"status": {"suspended": mode}})));
        assert_eq!(get(&dashboard, "").await["info"]["status"], json!({ "suspended": mode }));
        before.echo("still here\n").await;
    }
    let refused = tokio::net::TcpStream::connect(chat.local_addrs()[0].socket().unwrap()).await;
    assert!(refused.is_err());
    let answer = post(&dashboard, "/resume", json!({})).await;
    assert_eq!(answer.json(), json!({"status": "running"}));
    guest(&chat, "hello").await;
    let wrong = post(&dashboard, "/suspend", json!({"mode": "pause"})).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::BAD_REQUEST, "invalid_body".to_owned()));
}

#[actix::test]
async fn texts_are_sent_to_one_a_topic_and_all() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let (mut ann, mut bob) = (guest(&chat, "join lobby").await, guest(&chat, "hello").await);
    let ids: Vec<_> = chat.list().iter().map(|info| info.id).collect();
    let sent = json!({"delivered": 1, "full": 0});
    let one = post(&dashboard, "/send", json!({"text": "to one", "to": {"connection": ids[1]}})).await;
    assert_eq!(one.json(), sent);
    bob.expect(b"to one\n").await;
    let topic = post(&dashboard, "/send", json!({"text": "to the lobby", "to": {"topic": "lobby"}})).await;
    assert_eq!(topic.json(), sent);
    ann.expect(b"to the lobby\n").await;
    let all = post(&dashboard, "/send", json!({"text": "to all", "to": "all"})).await;
    assert_eq!(all.json(), json!({"delivered": 2, "full": 0}));
    ann.expect(b"to all\n").await;
    bob.expect(b"to all\n").await;
    let gone = post(&dashboard, "/send", json!({"text": "x", "to": {"connection": 99}})).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    // The framing allows no line feed in a line.
    let lines = post(&dashboard, "/send", json!({"text": "a\nb", "to": "all"})).await;
    assert_eq!((lines.status, lines.code()), (StatusCode::UNPROCESSABLE_ENTITY, "failed".to_owned()));
}

#[actix::test]
async fn bytes_are_sent_to_connections_of_any_handler() {
    let chat = chat().await;
    let mut ann = guest(&chat, "join lobby").await;
    let dashboard = Dashboard::new(DashboardPool::with_bytes(&chat, |text| (text + "!\n").into()));
    for to in [json!({"connection": 1}), json!({"topic": "lobby"}), json!("all")] {
        let answer = post(&dashboard, "/send", json!({"text": "hello", "to": to})).await;
        assert_eq!(answer.json(), json!({"delivered": 1, "full": 0}));
        ann.expect(b"hello!\n").await;
    }
    post(&dashboard, "/connections/1/close", json!({"text": "bye"})).await;
    ann.expect_closed_after("bye!\n").await;
}

#[actix::test]
async fn what_the_program_has_not_provided_is_not_offered() {
    let chat = chat().await;
    let _ann = guest(&chat, "hello").await;
    let dashboard = Dashboard::new(&chat);
    for (path, body) in [
        ("/send", json!({"text": "x", "to": "all"})),
        ("/connections/1/close", json!({"text": "bye"})),
        ("/certificates", json!({})),
    ] {
        let answer = post(&dashboard, path, body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "not_offered".to_owned()), "{path}");
    }
    assert_eq!(chat.connections(), 1);
}

#[actix::test]
async fn a_panic_of_the_program_fails_the_action() {
    let chat = chat().await;
    let mut ann = guest(&chat, "hello").await;
    let pool = DashboardPool::with_text(&chat, |text| panic!("no reply for {text}"));
    let dashboard = Dashboard::new(pool.on_reload_certificates(|| panic!("no certificates")));
    for (path, body, text) in [
        ("/send", json!({"text": "x", "to": "all"}), "no reply for x"),
        ("/connections/1/close", json!({"text": "x"}), "no reply for x"),
        ("/certificates", json!({}), "no certificates"),
    ] {
        let answer = post(&dashboard, path, body).await;
        assert_eq!(answer.code(), "failed", "{path}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(text), "{path}");
    }
    ann.echo("still here\n").await;
}

#[actix::test]
async fn a_connection_is_closed_in_order_or_killed() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let (mut ann, mut bob, mut eve) =
        (guest(&chat, "hello").await, guest(&chat, "hello").await, guest(&chat, "hello").await);
    let closed = post(&dashboard, "/connections/1/close", json!({"text": "bye", "grace": 2.5})).await;
    assert_eq!(closed.json(), json!({"closing": true}));
    ann.expect_closed_after("bye\n").await;
    post(&dashboard, "/connections/2/close", json!({})).await;
    bob.expect_closed_after("").await;
    // The viewer has seen another peer at this id.
    for path in ["/connections/3/kill", "/connections/3/close"] {
        let other = post(&dashboard, path, json!({"peer": "192.0.2.1:4711"})).await;
        assert_eq!((other.status, other.code()), (StatusCode::CONFLICT, "changed".to_owned()), "{path}");
    }
    eve.echo("still here\n").await;
    let peer = get(&dashboard, "/connections/3").await["connection"]["peer"].clone();
    let killed = post(&dashboard, "/connections/3/kill", json!({ "peer": peer })).await;
    assert_eq!(killed.json(), json!({"killed": true}));
    eve.until_gone().await;
    eventually(|| chat.connections() == 0).await;
    for (path, body) in [("/connections/3/kill", json!({})), ("/connections/1/close", json!({}))] {
        assert_eq!(post(&dashboard, path, body).await.code(), "not_found", "{path}");
    }
    let _ann = guest(&chat, "hello").await;
    let wrong = post(&dashboard, "/connections/4/close", json!({"grace": -1})).await;
    assert_eq!(wrong.code(), "invalid_parameter");
}

#[actix::test]
async fn certificates_are_reloaded_by_the_program() {
    static IS_VALID: AtomicBool = AtomicBool::new(true);
    let chat = chat().await;
    let reload = || if IS_VALID.load(Relaxed) { Ok(()) } else { Err("no such file: chat.pem".into()) };
    let dashboard = Dashboard::new(DashboardPool::from(&chat).on_reload_certificates(reload));
    assert_eq!(get(&dashboard, "").await["actions"]["certificates"], true);
    assert_eq!(post(&dashboard, "/certificates", json!({})).await.json(), json!({"reloaded": true}));
    IS_VALID.store(false, Relaxed);
    let failed = post(&dashboard, "/certificates", json!({})).await;
    assert_eq!((failed.status, failed.code()), (StatusCode::UNPROCESSABLE_ENTITY, "failed".to_owned()));
    assert!(failed.json()["error"]["message"].as_str().unwrap().contains("chat.pem"));
}

#[actix::test]
async fn an_address_is_denied_and_allowed_again() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut ann = guest(&chat, "hello").await;
    let kept = post(&dashboard, "/deny", json!({"address": "127.0.0.0/8"})).await;
    assert_eq!(kept.json(), json!({"rule": "deny 127.0.0.0/8", "killed": 0}));
    ann.echo("still here\n").await;
    connect(&chat).await.expect_closed_after("").await;
    let killed = post(&dashboard, "/deny", json!({"address": "127.0.0.1", "kill": true})).await;
    assert_eq!(killed.json(), json!({"rule": "deny 127.0.0.1/32", "killed": 1}));
    ann.until_gone().await;
    let rules = get(&dashboard, "/settings").await;
    let rules =
        rules["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == "rules").unwrap().clone();
    assert_eq!(rules["value"], json!(["deny 127.0.0.1/32", "deny 127.0.0.0/8"]));
    for address in ["127.0.0.1", "127.0.0.0/8"] {
        assert_eq!(post(&dashboard, "/undeny", json!({ "address": address })).await.status, StatusCode::OK);
    }
    guest(&chat, "hello").await;
    let none = post(&dashboard, "/undeny", json!({"address": "127.0.0.1"})).await;
    assert_eq!(none.code(), "not_found");
    assert_eq!(post(&dashboard, "/deny", json!({"address": "localhost"})).await.code(), "invalid_parameter");
}

#[actix::test]
async fn a_denial_ends_the_connections_of_its_address_only() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut ann = guest(&chat, "hello").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let address = chat.local_addrs()[0].socket().unwrap();
    let mut bob = Peer(in_time(socket.connect(address)).await.unwrap());
    bob.echo("hello\n").await;
    let denied = post(&dashboard, "/deny", json!({"address": "127.0.0.2", "kill": true})).await;
    assert_eq!(denied.json(), json!({"rule": "deny 127.0.0.2/32", "killed": 1}));
    bob.until_gone().await;
    ann.echo("still here\n").await;
}
