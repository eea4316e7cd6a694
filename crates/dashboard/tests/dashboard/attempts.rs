//! Wrong tokens: limited per client, and without an effect on others.

use actix_acceptor_dashboard::Dashboard;
use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use serde_json::json;
use support::logs;

use crate::client::*;

const RIGHT: &str = TOKEN;

/// A request with a token, from an address and as a proxy forwards it. Without an address, from a Unix socket.
async fn send(dashboard: &Dashboard, request: TestRequest, from: Option<&str>, forwarded_for: &str) -> StatusCode {
    let mut request = request.insert_header(("host", "chat.example"));
    if let Some(from) = from {
        request = request.peer_addr(format!("{from}:1000").parse().unwrap());
    }
    if !forwarded_for.is_empty() {
        request = request.insert_header(("x-forwarded-for", forwarded_for));
    }
    call(dashboard, request).await.status
}

fn login(token: &str) -> TestRequest {
    TestRequest::post().uri("/dashboard/login").set_json(json!({ "token": token }))
}

fn bearer(token: &str) -> TestRequest {
    TestRequest::get().uri("/dashboard/api/pools").insert_header(("authorization", format!("Bearer {token}")))
}

#[actix::test]
async fn wrong_tokens_are_refused() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let almost = format!("Bearer {}x", &TOKEN[1..]);
    let right = format!("bearer {TOKEN}");
    let with =
        |authorization: &str| get_request("/dashboard/api/pools").insert_header(("authorization", authorization));
    for wrong in ["Bearer ", "Bearer x", &almost, &format!("{right}!"), &format!("Bearer {TOKEN} {TOKEN}")] {
        assert_eq!(call(&dashboard, with(wrong)).await.code(), "unauthorized", "{wrong}");
    }
    let limited = call(&dashboard, with(&right)).await;
    assert_eq!((limited.status, limited.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts".to_owned()));
    assert!(limited.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=61).contains(&seconds)));
    for (n, scheme) in [format!("Basic {TOKEN}"), TOKEN.to_owned(), right].iter().enumerate() {
        let request = with(scheme).peer_addr("192.0.2.3:1000".parse().unwrap());
        let expected = if n == 2 { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(call(&dashboard, request).await.status, expected, "{scheme}");
    }
}

#[actix::test]
async fn wrong_tokens_of_an_address_are_limited() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    for from in [Some("192.0.2.1"), Some("[2001:db8::1]"), None] {
        for (with, ok) in [(login as fn(&str) -> TestRequest, StatusCode::NO_CONTENT), (bearer, StatusCode::OK)] {
            assert_eq!(send(&dashboard, with(RIGHT), from, "").await, ok, "{from:?}");
            for _ in 0..5 {
                assert_eq!(send(&dashboard, with("wrong"), from, "").await, StatusCode::UNAUTHORIZED, "{from:?}");
            }
            for token in ["wrong", RIGHT] {
                assert_eq!(send(&dashboard, with(token), from, "").await, StatusCode::TOO_MANY_REQUESTS, "{from:?}");
            }
        }
    }
}

#[actix::test]
async fn wrong_tokens_of_others_lock_out_no_address() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    for n in 0..200 {
        let from = format!("192.0.2.{n}");
        for request in [login("wrong"), bearer("wrong")] {
            assert_eq!(send(&dashboard, request, Some(&from), "").await, StatusCode::UNAUTHORIZED, "{n}");
        }
    }
    for from in ["192.0.2.200", "127.0.0.1", "[::1]"] {
        assert_eq!(send(&dashboard, login(RIGHT), Some(from), "").await, StatusCode::NO_CONTENT, "{from}");
        assert_eq!(send(&dashboard, bearer(RIGHT), Some(from), "").await, StatusCode::OK, "{from}");
    }
}

#[actix::test]
async fn clients_of_a_trusted_proxy_have_their_own_limit() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN).trusted_proxies(["127.0.0.1", "unix"]);
    for proxy in [Some("127.0.0.1"), None] {
        // The client itself sends the header, too.
        let forged = |n: usize| format!("198.51.100.{n}, 192.0.2.{}", u8::from(proxy.is_none()));
        for n in 0..5 {
            assert_eq!(send(&dashboard, login("wrong"), proxy, &forged(n)).await, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(send(&dashboard, login(RIGHT), proxy, &forged(9)).await, StatusCode::TOO_MANY_REQUESTS);
        for other in ["203.0.113.1", "198.51.100.1", ""] {
            assert_eq!(send(&dashboard, login(RIGHT), proxy, other).await, StatusCode::NO_CONTENT, "{other}");
        }
    }
    // Other peers cannot choose their address.
    for n in 0..5 {
        let forged = format!("198.51.100.{n}");
        assert_eq!(send(&dashboard, login("wrong"), Some("192.0.2.9"), &forged).await, StatusCode::UNAUTHORIZED);
    }
    let forged = send(&dashboard, login("wrong"), Some("192.0.2.9"), "198.51.100.9").await;
    assert_eq!(forged, StatusCode::TOO_MANY_REQUESTS);
}

#[actix::test]
async fn a_foreign_authorization_does_not_end_a_session() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let foreign = |request: TestRequest| request.insert_header(("authorization", "Bearer of.a.proxy"));
    for _ in 0..10 {
        send(&dashboard, foreign(TestRequest::get().uri("/dashboard/")), Some("127.0.0.1"), "").await;
    }
    // The header has used up its attempts, and not those of the form.
    let answer = call(&dashboard, foreign(login(TOKEN)).peer_addr(local())).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    for _ in 0..10 {
        let request = foreign(get_request("/dashboard/api/pools")).insert_header(("cookie", cookie.clone()));
        assert_eq!(call(&dashboard, request).await.json()["access"]["by"], "session");
    }
}

#[actix::test]
async fn the_log_names_the_client_of_a_proxy() {
    logs::listen();
    let chat = pool("proxied").await;
    let trusting = dashboard(&chat).token(TOKEN).trusted_proxies(["127.0.0.9"]);
    let suspicious = dashboard(&chat).token(TOKEN);
    let suspend = || {
        let request = post_request("/dashboard/api/pools/0/suspend", json!({"mode": "hold"}));
        request.insert_header(("authorization", format!("Bearer {TOKEN}")))
    };
    for dashboard in [&trusting, &suspicious] {
        for request in [suspend(), login("wrong")] {
            send(dashboard, request, Some("127.0.0.9"), "192.0.2.77").await;
        }
    }
    for message in ["dashboard action", "dashboard sign-in"] {
        let lines = logs::lines(|line| line.message() == message && line.fields["peer"].contains("127.0.0.9:1000"));
        let of = |line: &logs::Line| (line.fields["peer"].clone(), line.fields["forwarded_for"].clone());
        let found: Vec<_> = lines.iter().map(of).collect();
        let expected = [("192.0.2.77 via 127.0.0.9:1000", ""), ("127.0.0.9:1000", "192.0.2.77")];
        let expected = expected.map(|(peer, unverified)| (peer.to_owned(), unverified.to_owned()));
        assert_eq!(found, expected, "{message}");
    }
    let warnings = logs::lines(|line| line.message().contains("trusted_proxies") && line.is("peer", "127.0.0.9:1000"));
    assert_eq!(warnings.len(), 1);
}

#[test]
#[should_panic(expected = "\"127.0.0.1/64\"")]
fn an_invalid_proxy_is_refused_at_the_start() {
    actix::System::new().block_on(async {
        let chat = chat().await;
        let _ = Dashboard::new(&chat).trusted_proxies(["10.0.0.0/8", "127.0.0.1/64"]);
    });
}
