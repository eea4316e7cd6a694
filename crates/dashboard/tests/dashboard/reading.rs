//! What each path answers.

use actix_acceptor_dashboard::Dashboard;
use actix_web::http::StatusCode;
use serde_json::{json, Value};
use support::{eventually, Peer};

use crate::client::*;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[actix::test]
async fn the_overview_lists_the_pools() {
    let (chat, feed) = (chat().await, pool("feed").await);
    let _peer = guest(&chat, "hello").await;
    let dashboard = dashboard(&chat).pool(&feed);
    let overview = call(&dashboard, get_request("/dashboard/api/pools")).await.json();
    assert_eq!(overview["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(overview["read_only"], false);
    assert_eq!(overview["access"], json!({"by": "loopback", "expires_ms": null}));
    let pool = |id: &str, name: &str, connections| json!({"id": id, "name": name, "status": "running", "ready": true, "connections": connections});
    assert_eq!(overview["pools"], json!([pool("0", "chat", 1), pool("1", "feed", 0)]));
    // The second pool offers no texts.
    for (key, id, sends_text) in [("0", "0", true), ("chat", "0", true), ("1", "1", false), ("feed", "1", false)] {
        let pool = call(&dashboard, get_request(&format!("/dashboard/api/pools/{key}"))).await.json();
        assert_eq!((&pool["id"], &pool["actions"]["text"]), (&json!(id), &json!(sends_text)), "{key}");
    }
    let none = call(&dashboard, get_request("/dashboard/api/pools/shop")).await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "not_found".to_owned()));
}

#[actix::test]
async fn a_pool_is_reported_with_its_listeners() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut peer = guest(&chat, "hello").await;
    peer.echo("more\n").await;
    let pool = until(&dashboard, "/api/pools/0", |pool| pool["info"]["packets"] == 2).await;
    let address = chat.local_addr().unwrap().to_string();
    assert_eq!((&pool["ready"], &pool["info"]["status"]), (&json!(true), &json!("running")));
    assert_eq!((&pool["info"]["connections"], &pool["info"]["packets"]), (&json!(1), &json!(2)));
    assert_eq!(pool["listeners"][0]["url"], format!("tcp://{address}"));
    assert_eq!(pool["listeners"][0]["connections"], 1);
    let acceptor = json!({
        "id": 0, "connections": 1, "restarts": 0, "blocks": 0, "last_block": null, "last_block_ms": null,
    });
    assert_eq!(pool["acceptors"], json!([acceptor]));
    assert_eq!(pool["actions"], json!({"text": true, "certificates": false}));
    assert_eq!(pool["drain"], Value::Null);
    // The reports are those of the library.
    assert_eq!(keys(&pool["info"]), keys(&serde_json::to_value(chat.info()).unwrap()));
}

#[actix::test]
async fn the_history_grows_once_a_second() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let values = |history: &Value| history["times_ms"].as_array().unwrap().len();
    get(&dashboard, "/history").await;
    drop(guest(&chat, "bye").await);
    let history = until(&dashboard, "/api/pools/0/history?minutes=1", |history| {
        values(history) >= 2 && history["closed"]["peer"].is_array()
    });
    let history = history.await;
    assert_eq!((&history["minutes"], &history["step"]), (&json!(1), &json!(1)));
    for column in
        ["connections", "unsent", "handshakes", "held", "accepted", "packets", "bytes_in", "bytes_out", "dropped"]
    {
        assert_eq!(history[column].as_array().unwrap().len(), values(&history), "{column}");
    }
    assert!(history["packets"].as_array().unwrap().iter().any(|rate| rate.as_f64() > Some(0.0)), "{history}");
    assert_eq!(history["refused"], json!({}));
    let long = get(&dashboard, "/history?minutes=60").await;
    assert_eq!((&long["step"], values(&long)), (&json!(30), 1));
    let wrong = call(&dashboard, get_request("/dashboard/api/pools/0/history?minutes=2")).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::BAD_REQUEST, "invalid_parameter".to_owned()));
    assert!(get(&dashboard, "").await["rates"]["seconds"].as_f64() > Some(0.0));
}

#[actix::test]
async fn topics_and_names_are_listed_with_members() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut peers: Vec<Peer> = Vec::new();
    for n in 0..5 {
        let mut peer = guest(&chat, "join lobby").await;
        peer.echo(format!("join room-{n}\n")).await;
        peer.echo(format!("name ann/{n}?\n")).await;
        peers.push(peer);
    }
    let topics = get(&dashboard, "/topics?sort=members&order=desc&limit=2").await;
    assert_eq!(topics["topics"], json!([{"name": "lobby", "members": 5}, {"name": "room-0", "members": 1}]));
    assert_eq!((&topics["total"], &topics["matching"], &topics["pages"]), (&json!(6), &json!(6), &json!(3)));
    let filtered = get(&dashboard, "/topics?filter=OOM-3").await;
    assert_eq!(filtered["topics"], json!([{"name": "room-3", "members": 1}]));
    let ids: Vec<_> = chat.list().into_iter().map(|info| info.id).collect();
    let peer = chat.list()[2].peer.to_string();
    for filter in [peer.as_str(), &peer[2..], &ids[2].to_string()] {
        let found = get(&dashboard, &format!("/connections?filter={filter}")).await;
        assert!(found["connections"].as_array().unwrap().iter().any(|row| row["id"] == json!(ids[2])), "{filter}");
    }
    let lobby = get(&dashboard, "/topic?name=lobby&page=2&limit=4").await;
    assert_eq!((&lobby["members"], &lobby["connections"][0]["id"]), (&json!(5), &json!(ids[4])));
    let names = get(&dashboard, "/names?filter=ann%2F3").await;
    assert_eq!(names["names"], json!([{"name": "ann/3?", "connection": ids[3]}]));
    let one = get(&dashboard, &format!("/connections/{}", ids[3])).await;
    assert_eq!((&one["names"], &one["topics"]), (&json!(["ann/3?"]), &json!(["lobby", "room-3"])));
    assert_eq!(one["connection"]["packets"], 3);
}

#[actix::test]
async fn a_connection_that_has_ended_is_not_found() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    drop(guest(&chat, "hello").await);
    eventually(|| chat.connections() == 0).await;
    for (id, status) in [("1", StatusCode::NOT_FOUND), ("99", StatusCode::NOT_FOUND), ("one", StatusCode::BAD_REQUEST)]
    {
        let answer = call(&dashboard, get_request(&format!("/dashboard/api/pools/0/connections/{id}"))).await;
        assert_eq!(answer.status, status, "{id}");
    }
}

#[actix::test]
async fn the_process_is_reported() {
    let chat = chat().await;
    let process = call(&dashboard(&chat), get_request("/dashboard/api/process")).await.json();
    assert_eq!(process["pid"], std::process::id());
}

#[actix::test]
async fn events_are_kept_and_read_from_a_number_on() {
    let chat = chat().await;
    let dashboard: Dashboard = dashboard(&chat);
    drop(guest(&chat, "hello").await);
    let of = |events: &Value| -> Vec<String> {
        let events = events["events"].as_array().unwrap().iter();
        events.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    };
    let has_stopped = |events: &Value| of(events).contains(&"connection_stopped".to_owned());
    let events = until(&dashboard, "/api/events?pool=0", has_stopped).await;
    assert_eq!(of(&events), ["connection_started", "connection_stopped"]);
    assert_eq!(events["events"][1]["connection"], 1);
    let path = format!("/dashboard/api/events?after={}", events["events"][0]["seq"]);
    assert_eq!(of(&call(&dashboard, get_request(&path)).await.json()), ["connection_stopped"]);
}

#[actix::test]
async fn the_page_and_its_files_are_served() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let bare = call(&dashboard, get_request("/dashboard")).await;
    assert_eq!((bare.status, bare.header("location")), (StatusCode::TEMPORARY_REDIRECT, "dashboard/"));
    let page = call(&dashboard, get_request("/dashboard/")).await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    let script = call(&dashboard, get_request("/dashboard/app.js")).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let known = get_request("/dashboard/app.js").insert_header(("if-none-match", script.header("etag").to_owned()));
    assert_eq!(call(&dashboard, known).await.status, StatusCode::NOT_MODIFIED);
    for missing in ["/dashboard/nothing.js", "/dashboard/api/nothing", "/dashboard/..%2fCargo.toml"] {
        assert_eq!(call(&dashboard, get_request(missing)).await.code(), "not_found", "{missing}");
    }
    let elsewhere = Dashboard::new(&chat).path("/ops/chat/");
    assert_eq!(call(&elsewhere, get_request("/ops/chat/api/pools")).await.status, StatusCode::OK);
    let root = Dashboard::new(&chat).path("/");
    assert_eq!(call(&root, get_request("/")).await.status, StatusCode::OK);
    assert_eq!(call(&root, get_request("/api/pools")).await.status, StatusCode::OK);
}
