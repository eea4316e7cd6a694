//! Which requests are served, and which are refused.

use actix_acceptor_dashboard::Dashboard;
use actix_web::http::{StatusCode, Version};
use actix_web::test::TestRequest;
use serde_json::json;

use crate::client::*;

const PATHS: [&str; 13] = [
    "/",
    "/metrics",
    "/stream",
    "/api/pools",
    "/api/process",
    "/api/events",
    "/api/pools/0",
    "/api/pools/0/history",
    "/api/pools/0/connections",
    "/api/pools/0/connections/1",
    "/api/pools/0/topics",
    "/api/pools/0/names",
    "/api/pools/0/settings",
];

fn get_with(path: &str, headers: &[(&str, &str)]) -> TestRequest {
    let request = TestRequest::get().uri(path).peer_addr(local());
    headers.iter().fold(request, |request, (name, value)| request.insert_header((*name, *value)))
}

#[actix::test]
async fn without_a_token_only_this_machine_is_served() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    for path in PATHS.iter().chain(&["/login", "/app.js", ""]) {
        let path = format!("/dashboard{path}");
        for peer in ["192.0.2.1:1000", "[2001:db8::1]:1000", "[::ffff:192.0.2.1]:1000", "0.0.0.0:1"] {
            let request = get_request(&path).peer_addr(peer.parse().unwrap());
            let answer = call(&dashboard, request).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::FORBIDDEN, "loopback_only".to_owned()),
                "{path} {peer}"
            );
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains("Dashboard::token"));
        }
    }
    for peer in ["127.0.0.1:1000", "127.1.2.3:1", "[::1]:1000", "[::ffff:127.0.0.1]:1000"] {
        let request = get_request("/dashboard/api/pools").peer_addr(peer.parse().unwrap());
        assert_eq!(call(&dashboard, request).await.status, StatusCode::OK, "{peer}");
    }
    // A Unix socket names no peer.
    let unknown = TestRequest::get().uri("/dashboard/api/pools").insert_header(("host", "localhost"));
    assert_eq!(call(&dashboard, unknown).await.code(), "loopback_only");
}

#[actix::test]
async fn without_a_token_other_hosts_and_proxies_are_refused() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "evil.example:8080")],
        &[("host", "localhost.evil.example")],
        &[("host", "127.0.0.1.evil.example")],
        &[("host", "")],
        &[],
        // What a proxy forwards comes from elsewhere.
        &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")],
        &[("host", "localhost"), ("forwarded", "for=192.0.2.1")],
        &[("host", "localhost"), ("via", "1.1 proxy")],
        &[("host", "localhost"), ("x-real-ip", "192.0.2.1")],
        // Envoy, a CDN, a load balancer.
        &[("host", "localhost"), ("x-forwarded-proto", "https")],
        &[("host", "localhost"), ("x-request-id", "1")],
        &[("host", "localhost"), ("cf-connecting-ip", "192.0.2.1")],
        &[("host", "localhost"), ("x-amzn-trace-id", "1")],
        // A proxy that replaces only the host.
        &[("host", "localhost"), ("origin", "https://ops.example"), ("sec-fetch-site", "same-origin")],
        &[("host", "localhost"), ("referer", "https://ops.example/dashboard/"), ("sec-fetch-site", "same-origin")],
        &[("host", "localhost"), ("referer", "")],
        &[("host", "localhost"), ("referer", "https://127.0.0.1@ops.example/")],
    ] {
        let answer = call(&dashboard, get_with("/dashboard/api/pools", headers)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "loopback_only".to_owned()), "{headers:?}");
    }
    let absolute = get_with("http://evil.example/dashboard/api/pools", &[("host", "localhost")]);
    assert_eq!(call(&dashboard, absolute).await.code(), "loopback_only");
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080"] {
        let referer = format!("http://{host}/dashboard/");
        let answer = call(&dashboard, get_with("/dashboard/api/pools", &[("host", host), ("referer", &referer)])).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
}

#[actix::test]
async fn the_default_of_a_silent_proxy_is_refused() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    // nginx replaces the host by that of the server, and uses HTTP/1.0.
    let suspend = post_request("/dashboard/api/pools/0/suspend", json!({"mode": "close"}));
    for request in [get_request("/dashboard/api/pools"), suspend] {
        let answer = call(&dashboard, request.version(Version::HTTP_10)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "loopback_only".to_owned()));
        assert!(answer.json()["error"]["message"].as_str().unwrap().starts_with("the request has version HTTP/1.0"));
    }
    assert!(chat.is_ready());
    // With a token, the version does not matter.
    let with_token = self::dashboard(&chat).token(TOKEN);
    let request = get_request("/dashboard/api/pools").insert_header(("authorization", format!("Bearer {TOKEN}")));
    assert_eq!(call(&with_token, request.version(Version::HTTP_10)).await.status, StatusCode::OK);
}

#[actix::test]
async fn the_host_of_http_2_is_in_the_uri() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    for (host, status) in [("localhost:8080", StatusCode::OK), ("evil.example", StatusCode::FORBIDDEN)] {
        let request = get_with(&format!("https://{host}/dashboard/api/pools"), &[]).version(Version::HTTP_2);
        assert_eq!(call(&dashboard, request).await.status, status, "{host}");
    }
}

#[actix::test]
async fn with_a_token_every_path_needs_it() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    for path in PATHS.iter().skip(1) {
        let path = format!("/dashboard{path}");
        let answer = call(&dashboard, get_request(&path)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "unauthorized".to_owned()), "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    let page = call(&dashboard, get_request("/dashboard/")).await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "login"));
    for open in ["/dashboard/login", "/dashboard/style.css"] {
        assert_eq!(call(&dashboard, get_request(open)).await.status, StatusCode::OK, "{open}");
    }
    // From anywhere, at any host.
    let bearer = format!("Bearer {TOKEN}");
    let remote = get_with("/dashboard/api/pools", &[("host", "chat.example"), ("authorization", &bearer)]);
    let answer = call(&dashboard, remote.peer_addr("192.0.2.1:1000".parse().unwrap())).await;
    assert_eq!((answer.status, &answer.json()["access"]["by"]), (StatusCode::OK, &json!("token")));
}

#[actix::test]
async fn requests_of_other_sites_are_refused() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8080")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://localhost:9999")],
        &[("origin", "null")],
    ] {
        let with =
            |request: TestRequest| headers.iter().fold(request, |request, header| request.insert_header(*header));
        let read = call(&dashboard, with(get_request("/dashboard/stream"))).await;
        assert_eq!((read.status, read.code()), (StatusCode::FORBIDDEN, "cross_site".to_owned()), "{headers:?}");
        let suspend = post_request("/dashboard/api/pools/0/suspend", json!({"mode": "close"}));
        assert_eq!(call(&dashboard, with(suspend)).await.code(), "cross_site", "{headers:?}");
    }
    // A link leads to the page, and the page itself may read.
    let link = [
        ("host", "localhost"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("referer", "http://wiki.example/"),
    ];
    assert_eq!(call(&dashboard, get_with("/dashboard/", &link)).await.status, StatusCode::OK);
    let own = [("host", "localhost:8080"), ("origin", "http://localhost:8080")];
    assert_eq!(call(&dashboard, get_with("/dashboard/api/pools", &own)).await.status, StatusCode::OK);
    assert!(chat.is_ready());
}

#[actix::test]
async fn an_action_needs_its_headers_and_a_short_body() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let path = "/dashboard/api/pools/0/suspend";
    let post = || TestRequest::post().uri(path).peer_addr(local()).insert_header(("host", "localhost"));
    let json = ("content-type", "application/json");
    let body = r#"{"mode": "hold"}"#;
    for (request, status, code) in [
        (post().insert_header(json).set_payload(body), 403, "header_required"),
        (post().insert_header(("x-dashboard", "1")).set_payload(body), 415, "json_required"),
        (post().insert_header(("x-dashboard", "1")).set_form([("mode", "hold")]), 415, "json_required"),
        (
            post().insert_header(("x-dashboard", "1")).insert_header(("content-type", "text/plain")).set_payload(body),
            415,
            "json_required",
        ),
        (post().insert_header(json).insert_header(("x-dashboard", "1")).set_payload("{"), 400, "invalid_body"),
        (post().insert_header(json).insert_header(("x-dashboard", "1")), 400, "invalid_body"),
        (
            post().insert_header(json).insert_header(("x-dashboard", "1")).set_payload(" ".repeat(70_000) + body),
            413,
            "body_too_large",
        ),
    ] {
        let answer = call(&dashboard, request).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code));
    }
    // Reading an action's path does not perform it.
    let answer = call(&dashboard, get_request(path)).await;
    assert!(answer.status.is_client_error());
    assert!(chat.is_ready());
}

#[actix::test]
async fn a_read_only_dashboard_refuses_every_action() {
    let chat = chat().await;
    let mut ann = guest(&chat, "join lobby").await;
    let dashboard = dashboard(&chat).read_only(true);
    let before = chat.settings();
    for (path, body) in [
        ("/suspend", json!({"mode": "close"})),
        ("/resume", json!({})),
        ("/settings", json!({"max_connections": 1})),
        ("/send", json!({"text": "x", "to": "all"})),
        ("/connections/1/close", json!({})),
        ("/connections/1/kill", json!({})),
        ("/deny", json!({"address": "127.0.0.1", "kill": true})),
        ("/undeny", json!({"address": "127.0.0.1"})),
        ("/certificates", json!({})),
        ("/drain", json!({"grace": 0})),
    ] {
        let answer = post(&dashboard, path, body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "read_only".to_owned()), "{path}");
    }
    assert!(chat.is_ready() && chat.settings() == before);
    ann.echo("still here\n").await;
    let overview = call(&dashboard, get_request("/dashboard/api/pools")).await.json();
    assert_eq!(overview["read_only"], true);
}

#[actix::test]
async fn every_response_has_the_security_headers() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    for path in [
        "/dashboard/",
        "/dashboard/login",
        "/dashboard/app.js",
        "/dashboard/api/pools",
        "/dashboard/none",
        "/dashboard",
    ] {
        let answer = call(&dashboard, get_request(path)).await;
        let policy = answer.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        let cache = if path.ends_with(".js") || path.ends_with("login") { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cache, "{path}");
    }
}

#[test]
#[should_panic(expected = "at least 16 characters (got 0)")]
fn an_empty_token_is_refused_at_the_start() {
    actix::System::new().block_on(async {
        let chat = chat().await;
        let _ = Dashboard::new(&chat).token("");
    });
}
