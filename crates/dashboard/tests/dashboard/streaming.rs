//! Updates, over real HTTP.

use std::net::SocketAddr;

use actix_acceptor_dashboard::Dashboard;
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use serde_json::Value;
use support::{eventually, in_time};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::client::*;

/// A web server of the dashboard.
async fn serve(dashboard: &Dashboard) -> (SocketAddr, ServerHandle) {
    let dashboard = dashboard.clone();
    let server = HttpServer::new(move || App::new().service(dashboard.clone()));
    let server = server.workers(2).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    (address, handle)
}

/// A viewer, as a browser reads it.
struct Viewer(BufReader<TcpStream>);

impl Viewer {
    /// Returns the viewer and the status.
    async fn connect(address: SocketAddr, headers: &str) -> (Self, u16) {
        let mut stream = in_time(TcpStream::connect(address)).await.unwrap();
        let request = format!("GET /dashboard/stream HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        in_time(stream.write_all(request.as_bytes())).await.unwrap();
        let mut viewer = Viewer(BufReader::new(stream));
        let status = viewer.line().await.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        while let Some(line) = viewer.line().await.filter(|line| !line.is_empty()) {
            headers.push(line);
        }
        // Nothing between the server and the viewer holds updates back.
        for header in ["x-accel-buffering: no", "content-encoding: identity"] {
            assert_eq!(headers.iter().any(|line| line == header), status == 200, "{headers:?}");
        }
        (viewer, status)
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = in_time(self.0.read_line(&mut line)).await.unwrap_or_default();
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message of this kind. `None` when the updates end.
    async fn message(&mut self, event: &str) -> Option<Value> {
        loop {
            if self.line().await? == format!("event: {event}") {
                let mut line = self.line().await?;
                if line.starts_with("id: ") {
                    line = self.line().await?;
                }
                return Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap());
            }
        }
    }
}

#[actix::test]
async fn a_viewer_receives_updates_until_it_leaves() {
    let (chat, feed) = (chat().await, pool("feed").await);
    let dashboard = dashboard(&chat).pool(&feed);
    let (address, server) = serve(&dashboard).await;
    let (mut viewer, status) = Viewer::connect(address, "").await;
    assert_eq!(status, 200);
    let hello = viewer.message("hello").await.unwrap();
    assert_eq!(hello["pools"][1]["name"], "feed");
    let first = viewer.message("update").await.unwrap();
    assert_eq!((&first["viewers"], &first["pools"][0]["info"]["connections"]), (&1.into(), &0.into()));
    assert_eq!(first["process"]["pid"], std::process::id());
    let _ann = guest(&chat, "hello").await;
    let mut events = Vec::new();
    loop {
        let update = viewer.message("update").await.unwrap();
        events.extend(update["events"].as_array().unwrap().iter().map(|event| event["kind"].clone()));
        if update["pools"][0]["info"]["connections"] == 1 && events.contains(&"connection_started".into()) {
            assert_eq!(update["pools"].as_array().unwrap().len(), 2);
            break;
        }
    }
    // One viewer more is counted, and one that has left no longer.
    let (mut other, _) = Viewer::connect(address, "").await;
    assert_eq!(other.message("update").await.unwrap()["viewers"], 2);
    drop(viewer);
    while other.message("update").await.unwrap()["viewers"] != 1 {}
    // The program ends the updates, and the server stops without waiting for them.
    dashboard.disconnect();
    assert_eq!(other.message("update").await, None);
    in_time(server.stop(true)).await;
}

#[actix::test]
async fn updates_end_with_the_session() {
    let chat = chat().await;
    let dashboard = dashboard(&chat).token(TOKEN);
    let (address, server) = serve(&dashboard).await;
    assert_eq!(Viewer::connect(address, "").await.1, 401);
    let (mut script, status) = Viewer::connect(address, &format!("Authorization: Bearer {TOKEN}\r\n")).await;
    assert_eq!(status, 200);
    let login = post_request("/dashboard/login", serde_json::json!({"token": TOKEN}));
    let login = call(&dashboard, login).await;
    let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let at_port = cookie.replacen("8080", &address.port().to_string(), 1);
    let (mut viewer, status) = Viewer::connect(address, &format!("Cookie: {at_port}\r\n")).await;
    assert_eq!(status, 200);
    viewer.message("update").await.unwrap();
    let logout = post_request("/dashboard/logout", serde_json::json!({})).insert_header(("cookie", cookie));
    assert_eq!(call(&dashboard, logout).await.status.as_u16(), 204);
    while viewer.message("update").await.is_some() {}
    assert!(script.message("update").await.is_some());
    dashboard.disconnect();
    in_time(server.stop(true)).await;
}

#[actix::test]
async fn viewers_above_the_limit_are_refused() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let (address, server) = serve(&dashboard).await;
    let mut viewers = Vec::new();
    for _ in 0..32 {
        let (viewer, status) = Viewer::connect(address, "").await;
        assert_eq!(status, 200);
        viewers.push(viewer);
    }
    assert_eq!(Viewer::connect(address, "").await.1, 503);
    viewers.truncate(31);
    // The place is free when the server has noticed that the viewer has left.
    loop {
        let (viewer, status) = Viewer::connect(address, "").await;
        if status == 200 {
            viewers.push(viewer);
            break;
        }
        support::pass(support::ms(10)).await;
    }
    dashboard.disconnect();
    in_time(server.stop(true)).await;
}

#[actix::test]
async fn a_viewer_that_does_not_read_delays_no_other() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let (address, server) = serve(&dashboard).await;
    // Its receive buffer fills up, then the queue of its messages.
    let (silent, status) = Viewer::connect(address, "").await;
    assert_eq!(status, 200);
    let (mut viewer, _) = Viewer::connect(address, "").await;
    let first = viewer.message("update").await.unwrap()["seq"].as_u64().unwrap();
    for n in 1..=3 {
        assert_eq!(viewer.message("update").await.unwrap()["seq"], first + n);
    }
    drop(silent);
    dashboard.disconnect();
    in_time(server.stop(true)).await;
}

#[actix::test]
async fn a_request_over_http_is_answered() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let (address, server) = serve(&dashboard).await;
    let mut stream = in_time(TcpStream::connect(address)).await.unwrap();
    let body = r#"{"mode": "hold"}"#;
    let request = format!(
        "POST /dashboard/api/pools/chat/suspend HTTP/1.1\r\nHost: {address}\r\nX-Dashboard: 1\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    in_time(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"status":{"suspended":"hold"}}"#), "{answer}");
    eventually(|| !chat.is_ready()).await;
    in_time(server.stop(true)).await;
}
