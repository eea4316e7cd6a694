//! Pages of 2,000 connections: sorted, filtered, each row once.

use actix_acceptor::transport::Memory;
use actix_acceptor::{AcceptorPool, Framing};
use actix_acceptor_dashboard::Dashboard;
use actix_web::http::StatusCode;
use serde_json::Value;
use support::{eventually, in_time, Peer};

use crate::client::*;

const PEERS: usize = 2_000;

fn ids(page: &Value) -> Vec<u64> {
    page["connections"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

async fn all(dashboard: &Dashboard, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    loop {
        let path = format!("/connections?{query}&limit=100&page={}", rows.len() / 100 + 1);
        let page = get(dashboard, &path).await;
        let more = page["connections"].as_array().unwrap();
        rows.extend_from_slice(more);
        if more.len() < 100 {
            return rows;
        }
    }
}

#[actix::test]
async fn two_thousand_rows_are_sorted_filtered_and_paged() {
    let (memory, connector) = Memory::new("chat");
    let builder = AcceptorPool::with_protocol(|_| Guest).framing(Framing::lines()).acceptors(1).idle_timeout(None);
    let chat = builder.listen(memory).await.unwrap();
    let dashboard = dashboard(&chat);
    let mut peers = Vec::new();
    for n in 0..PEERS {
        let mut peer = Peer(in_time(connector.connect()).await.unwrap());
        // Labels in another order than the ids, of different lengths; every tenth has none.
        if n % 10 != 0 {
            peer.echo(format!("label guest-{}\n", n * 7_919 % PEERS)).await;
        }
        peers.push(peer);
    }
    eventually(|| chat.connections() == PEERS).await;
    let first = get(&dashboard, "/connections").await;
    assert_eq!((ids(&first), &first["total"]), ((1..=50).collect(), &PEERS.into()));
    assert_eq!((&first["pages"], &first["slow"]), (&40.into(), &0.into()));
    let last = get(&dashboard, "/connections?order=desc&limit=3").await;
    assert_eq!(ids(&last), [2_000, 1_999, 1_998]);
    for (column, pointer) in [("label", "/label"), ("bytes_in", "/bytes_in"), ("packets", "/packets"), ("id", "/id")] {
        let ascending = all(&dashboard, &format!("sort={column}")).await;
        assert_eq!(ascending.len(), PEERS, "{column}");
        let key = |row: &Value| {
            let value = row.pointer(pointer).unwrap();
            (value.is_null(), value.as_str().unwrap_or_default().to_owned(), value.as_f64().unwrap_or_default())
        };
        assert!(ascending.is_sorted_by(|a, b| key(a) <= key(b)), "{column}");
        let mut seen: Vec<_> = ascending.iter().map(|row| row["id"].as_u64().unwrap()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(1..=PEERS as u64), "{column}");
        let descending = all(&dashboard, &format!("sort={column}&order=desc")).await;
        // Those without a label come last as well.
        let reversed = |row: &Value| {
            let (is_null, text, number) = key(row);
            (!is_null, text, number)
        };
        assert!(descending.is_sorted_by(|a, b| reversed(a) >= reversed(b)), "{column}");
    }
    let found = get(&dashboard, "/connections?filter=GUEST-1999").await;
    assert_eq!((&found["matching"], &found["connections"][0]["label"]), (&1.into(), &"guest-1999".into()));
    let found = all(&dashboard, "filter=guest-77&sort=label").await;
    assert!(found.iter().all(|row| row["label"].as_str().unwrap().starts_with("guest-77")) && found.len() > 5);
    for (query, matching) in [
        ("state=open", PEERS),
        ("state=closing", 0),
        ("listener=chat", PEERS),
        ("listener=other", 0),
        ("filter=nothing", 0),
        ("filter=chat%2F", PEERS),
        ("page=1000", PEERS),
    ] {
        let page = get(&dashboard, &format!("/connections?{query}")).await;
        assert_eq!(page["matching"], matching, "{query}");
    }
    for wrong in ["sort=secret", "order=up", "state=dead", "page=0", "limit=0", "limit=101", "page=-1", "page=x"] {
        let answer = call(&dashboard, get_request(&format!("/dashboard/api/pools/0/connections?{wrong}"))).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::BAD_REQUEST, "invalid_parameter".to_owned()),
            "{wrong}"
        );
    }
}

#[actix::test]
async fn a_filter_finds_labels_ids_and_addresses() {
    let chat = chat().await;
    let dashboard = dashboard(&chat);
    let mut peers = Vec::new();
    for n in 0..12 {
        peers.push(guest(&chat, &format!("{} guest-{n}", if n % 3 == 0 { "label" } else { "hello" })).await);
    }
    let everything = get(&dashboard, "/connections").await["connections"].clone();
    let all = everything.as_array().unwrap();
    assert_eq!(all.len(), 12);
    let port = all[5]["peer"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let ids_as_text: Vec<_> = (1..=12).map(|id: u32| id.to_string()).collect();
    let others = ["GUEST-", "guest-9", "127.0.0.1:", &port, "nothing"];
    for part in ids_as_text.iter().map(String::as_str).chain(others) {
        let is_match = |row: &&Value| {
            let texts = [row["id"].to_string(), row["peer"].to_string(), row["label"].to_string()];
            texts.iter().any(|text| text.contains(&part.to_lowercase()))
        };
        let expected: Vec<_> = all.iter().filter(is_match).map(|row| row["id"].as_u64().unwrap()).collect();
        assert_eq!(ids(&get(&dashboard, &format!("/connections?filter={part}")).await), expected, "{part}");
    }
}
