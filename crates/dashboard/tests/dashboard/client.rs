//! A chat pool, and requests to its dashboard.

use std::net::SocketAddr;

use actix_acceptor::{AcceptorPool, Conn, Connection, Framing, Next, Pool, Protocol};
use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::http::header::HeaderMap;
use actix_web::http::StatusCode;
use actix_web::test::{call_service, init_service, read_body, TestRequest};
use actix_web::App;
use bytes::Bytes;
use serde_json::Value;
use support::{connect, in_time, ms, pass, Peer};
use tokio::time::Instant;

pub(crate) const TOKEN: &str = "correct-horse-battery";

/// Stays until the deadline of a drain. Joins the topic that it sends with `join`, registers the name of `name`, and sets the label of `label`; answers with what it got.
pub(crate) struct Guest;

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let text = String::from_utf8_lossy(&packet);
        match text.split_once(' ') {
            Some(("join", topic)) => drop(conn.join(&conn.pool().topic(topic))),
            Some(("name", name)) => conn.register_replacing(name),
            Some(("label", label)) => conn.set_label(label),
            _ => {}
        }
        Next::Send(packet)
    }

    fn shutdown(&mut self, _: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }
}

pub(crate) type Chat = Pool<Connection<Guest>>;

pub(crate) async fn chat() -> Chat {
    pool("chat").await
}

pub(crate) async fn pool(name: &str) -> Chat {
    let builder = AcceptorPool::with_protocol(|_| Guest).framing(Framing::lines()).acceptors(1).idle_timeout(None);
    builder.name(name).bind("127.0.0.1:0").await.unwrap()
}

/// A dashboard that sends texts, without a token.
pub(crate) fn dashboard(pool: &Chat) -> Dashboard {
    Dashboard::new(DashboardPool::with_text(pool, Bytes::from))
}

/// A guest that has been answered to this line.
pub(crate) async fn guest(pool: &Chat, line: &str) -> Peer {
    let mut peer = connect(pool).await;
    peer.echo(format!("{line}\n")).await;
    peer
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body.escape_ascii()))
    }

    /// The code of the error.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{json}");
        json["error"]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Sends a request to an application of its own. The clones of the dashboard share one state.
pub(crate) async fn call(dashboard: &Dashboard, request: TestRequest) -> Answer {
    let app = init_service(App::new().service(dashboard.clone())).await;
    let response = in_time(call_service(&app, request.to_request())).await;
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: in_time(read_body(response)).await }
}

pub(crate) fn local() -> SocketAddr {
    "127.0.0.1:50000".parse().unwrap()
}

pub(crate) fn get_request(path: &str) -> TestRequest {
    TestRequest::get().uri(path).peer_addr(local()).insert_header(("host", "localhost:8080"))
}

pub(crate) fn post_request(path: &str, body: impl serde::Serialize) -> TestRequest {
    let request = TestRequest::post().uri(path).peer_addr(local()).insert_header(("host", "localhost:8080"));
    request.insert_header(("x-dashboard", "1")).set_json(body)
}

/// What a path below the first pool answers.
#[track_caller]
pub(crate) fn get<'a>(dashboard: &'a Dashboard, path: &str) -> impl std::future::Future<Output = Value> + use<'a> {
    let caller = std::panic::Location::caller();
    let path = format!("/dashboard/api/pools/0{path}");
    async move {
        let answer = call(dashboard, get_request(&path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{caller}: {path}: {}", answer.body.escape_ascii());
        answer.json()
    }
}

/// An action on the first pool.
pub(crate) async fn post(dashboard: &Dashboard, path: &str, body: Value) -> Answer {
    call(dashboard, post_request(&format!("/dashboard/api/pools/0{path}"), body)).await
}

/// Reads a path below the dashboard again until the answer satisfies a condition.
#[track_caller]
pub(crate) fn until<'a>(
    dashboard: &'a Dashboard,
    path: &'a str,
    is_so: impl Fn(&Value) -> bool + 'a,
) -> impl std::future::Future<Output = Value> + 'a {
    in_time(async move {
        loop {
            let json = call(dashboard, get_request(&format!("/dashboard{path}"))).await.json();
            if is_so(&json) {
                return json;
            }
            pass(ms(2)).await;
        }
    })
}
