//! The metrics, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};

use actix_acceptor::telemetry::Alarm;
use actix_acceptor::{AcceptorPool, Framing};
use actix_acceptor_dashboard::Dashboard;
use serde_json::json;
use support::prometheus::Page;
use support::{connect, eventually};

use crate::client::*;

async fn page(dashboard: &Dashboard) -> Page {
    let answer = call(dashboard, get_request("/dashboard/metrics")).await;
    assert!(answer.header("content-type").starts_with("text/plain"));
    Page::of(std::str::from_utf8(&answer.body).unwrap())
}

/// The samples by name and labels.
fn series(page: &Page) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    page.samples.iter().map(|sample| ((sample.name.clone(), sample.labels.clone()), sample.value)).collect()
}

#[actix::test]
async fn metrics_count_connections_and_packets() {
    let chat = chat().await;
    let _peer = guest(&chat, "hello").await;
    let page = page(&dashboard(&chat)).await;
    for (name, labels, value) in [
        ("acceptor_connections", "id=0", 1.0),
        ("acceptor_accepted_total", "id=0", 1.0),
        ("acceptor_packets_total", "id=0", 1.0),
        ("acceptor_ready", "id=0", 1.0),
        ("acceptor_acceptors", "id=0", 1.0),
        ("acceptor_connections_closed_total", "id=0 reason=peer", 0.0),
    ] {
        assert_eq!(page.values(name, "chat").get(labels), Some(&value), "{name}");
    }
    for (name, kind) in &page.kinds {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
}

#[actix::test]
async fn pools_of_the_same_name_have_series_of_their_own() {
    let (first, (started, starts)) = (chat().await, tokio::sync::oneshot::channel());
    // Names are unique in an actix system.
    let other = std::thread::spawn(move || {
        actix::System::new().block_on(async {
            let second = chat().await;
            let _ = started.send(second.clone());
            second.stopped().await.unwrap();
        });
    });
    let second = starts.await.unwrap();
    let page = page(&dashboard(&first).pool(&second)).await;
    let ids = page.values("acceptor_ready", "chat");
    assert_eq!(ids.keys().map(String::as_str).collect::<Vec<_>>(), ["id=0", "id=1"]);
    assert_eq!(series(&page).len(), page.samples.len());
    second.stop(None).await;
    other.join().unwrap();
}

#[actix::test]
async fn counters_never_fall() {
    let builder = AcceptorPool::with_protocol(|_| Guest).framing(Framing::lines()).acceptors(2);
    let chat = builder.alarm(Alarm::new("crowd", 1)).name("chat").bind("127.0.0.1:0").await.unwrap();
    let dashboard = dashboard(&chat);
    let mut peer = connect(&chat).await;
    peer.echo("hello\n").await;
    let before = page(&dashboard).await;
    post(&dashboard, "/deny", json!({"address": "127.0.0.1"})).await;
    connect(&chat).await.until_gone().await;
    post(&dashboard, "/settings", json!({"acceptors": 1})).await;
    drop(peer);
    eventually(|| chat.connections() == 0).await;
    let after = page(&dashboard).await;
    assert_eq!(after.values("acceptor_refused_total", "chat")["id=0 reason=denied"], 1.0);
    assert_eq!(after.values("acceptor_accepted_total", "chat")["id=0"], 2.0);
    assert_eq!(after.values("acceptor_alarms_total", "chat")["id=0 name=crowd"], 1.0);
    let after = series(&after);
    let counters: BTreeSet<_> =
        before.kinds.iter().filter(|(_, kind)| *kind == "counter").map(|(name, _)| name).collect();
    for (key, value) in series(&before).into_iter().filter(|(key, _)| counters.contains(&key.0)) {
        assert!(after.get(&key).is_some_and(|after| *after >= value), "{key:?} fell from {value}");
    }
    chat.stop(None).await;
}
