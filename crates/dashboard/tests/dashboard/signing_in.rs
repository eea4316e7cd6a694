//! The login form, and sessions.

use actix_acceptor_dashboard::Dashboard;
use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::{App, HttpServer};
use serde_json::json;
use support::in_time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::*;

fn login(token: &str) -> TestRequest {
    let request =
        TestRequest::post().uri("/dashboard/login").peer_addr(local()).insert_header(("host", "chat.example"));
    request.set_json(json!({ "token": token }))
}

/// The value that the browser sends back.
async fn session(dashboard: &Dashboard) -> String {
    let answer = call(dashboard, login(TOKEN)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let (cookie, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
    assert_eq!(attributes, "HttpOnly; SameSite=Strict; Max-Age=43200");
    assert!(!cookie.contains(TOKEN));
    cookie.to_owned()
}

async fn status_with(dashboard: &Dashboard, cookie: &str) -> StatusCode {
    let request = get_request("/dashboard/api/pools").insert_header(("cookie", cookie.to_owned()));
    call(dashboard, request).await.status
}

#[actix::test]
async fn a_session_reads_and_acts_until_it_ends() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let cookie = session(&dashboard).await;
    let overview = get_request("/dashboard/api/pools").insert_header(("cookie", cookie.clone()));
    let overview = call(&dashboard, overview).await.json();
    assert_eq!(overview["access"]["by"], "session");
    assert!(overview["access"]["expires_ms"].as_u64() > Some(1_700_000_000_000));
    let page = get_request("/dashboard/").insert_header(("cookie", format!("theme=dark; {cookie}")));
    assert_eq!(call(&dashboard, page).await.status, StatusCode::OK);
    let act = |path: &str, body| post_request(path, body).insert_header(("cookie", cookie.clone()));
    let suspended = call(&dashboard, act("/dashboard/api/pools/0/suspend", json!({"mode": "hold"}))).await;
    assert_eq!(suspended.status, StatusCode::OK);
    // A page of another site may cause the cookie to be sent, but cannot add the header.
    let forged = TestRequest::post().uri("/dashboard/logout").insert_header(("cookie", cookie.clone()));
    assert_eq!(call(&dashboard, forged.set_form([("x", "y")])).await.code(), "header_required");
    assert_eq!(status_with(&dashboard, &cookie).await, StatusCode::OK);
    let out = call(&dashboard, act("/dashboard/logout", json!({}))).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(
        out.header("set-cookie").starts_with("dashboard-8080=; ") && out.header("set-cookie").contains("Max-Age=0")
    );
    assert_eq!(status_with(&dashboard, &cookie).await, StatusCode::UNAUTHORIZED);
}

#[actix::test]
async fn a_session_is_valid_for_its_dashboard_only() {
    let chat = chat().await;
    let (ours, other) = (dashboard(&chat).token(TOKEN), dashboard(&chat).token(TOKEN));
    let cookie = session(&ours).await;
    assert_eq!(status_with(&ours, &cookie).await, StatusCode::OK);
    assert_eq!(status_with(&other, &cookie).await, StatusCode::UNAUTHORIZED);
    for forged in [cookie.replace("8080=", "8080=0"), format!("{cookie}0"), "dashboard-8080=".to_owned()] {
        assert_eq!(status_with(&ours, &forged).await, StatusCode::UNAUTHORIZED, "{forged}");
    }
}

#[actix::test]
async fn a_cookie_over_tls_is_secure() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    for (name, value, is_secure) in [
        ("x-forwarded-proto", "https", true),
        ("x-forwarded-proto", "https, http", true),
        ("forwarded", "for=192.0.2.1;proto=https", true),
        ("origin", "https://chat.example", true),
        ("origin", "http://chat.example", false),
        ("x-forwarded-proto", "http", false),
    ] {
        let answer = call(&dashboard, login(TOKEN).insert_header((name, value))).await;
        assert_eq!(answer.header("set-cookie").ends_with("; Secure"), is_secure, "{name}: {value}");
    }
}

#[actix::test]
async fn dashboards_at_two_ports_have_two_cookies() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let mut names = Vec::new();
    for _ in 0..2 {
        let dashboard = dashboard.clone();
        let server = HttpServer::new(move || App::new().service(dashboard.clone())).workers(1).disable_signals();
        let server = server.bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix::spawn(server);
        let mut stream = in_time(TcpStream::connect(address)).await.unwrap();
        let body = json!({ "token": TOKEN }).to_string();
        let request = format!(
            "POST /dashboard/login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        in_time(stream.write_all(request.as_bytes())).await.unwrap();
        let mut answer = String::new();
        in_time(stream.read_to_string(&mut answer)).await.unwrap();
        let (_, cookie) = answer.split_once("set-cookie: ").unwrap();
        names.push(cookie.split_once('=').unwrap().0.to_owned());
        assert_eq!(names.last(), Some(&format!("dashboard-{}", address.port())));
        in_time(handle.stop(false)).await;
    }
    assert_ne!(names[0], names[1]);
}

#[actix::test]
async fn the_form_signs_in_without_scripts() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let form = |token: &str| {
        let request = TestRequest::post().uri("/dashboard/login").peer_addr(local());
        request.insert_header(("host", "chat.example")).set_form([("token", token)])
    };
    let right = call(&dashboard, form(TOKEN)).await;
    assert_eq!((right.status, right.header("location")), (StatusCode::SEE_OTHER, "./"));
    let cookie = right.header("set-cookie").split(';').next().unwrap();
    assert_eq!(status_with(&dashboard, cookie).await, StatusCode::OK);
    let wrong = call(&dashboard, form("wrong")).await;
    assert_eq!((wrong.status, wrong.header("location")), (StatusCode::SEE_OTHER, "login?error=wrong_token"));
    // Another site cannot sign a viewer in.
    let foreign = call(&dashboard, form(TOKEN).insert_header(("origin", "https://evil.example"))).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::FORBIDDEN, "cross_site".to_owned()));
}

#[actix::test]
async fn without_a_token_there_is_no_login() {
    let chat = chat().await;
    let request = login(TOKEN).insert_header(("host", "localhost"));
    assert_eq!(call(&dashboard(&chat), request).await.code(), "not_offered");
}
