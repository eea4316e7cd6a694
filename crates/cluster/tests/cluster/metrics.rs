//! What a node reports to the `metrics` facade.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use actix_acceptor_cluster::ClusterInfo;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::prometheus::Page;
use support::{eventually, in_time};

use crate::faults::nats;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, Node};

fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// The values of this node, by name and reason.
fn values(node: &str) -> BTreeMap<String, f64> {
    let ours = |sample: &support::prometheus::Sample| sample.labels.get("node").is_some_and(|label| label == node);
    let samples = Page::of(&recorder().render()).samples;
    let samples = samples.into_iter().filter(|sample| sample.name.starts_with("acceptor_cluster_") && ours(sample));
    let named = samples.map(|sample| {
        let reason = sample.labels.get("reason").map(|reason| format!(" {reason}")).unwrap_or_default();
        (format!("{}{reason}", sample.name), sample.value)
    });
    named.collect()
}

/// The metrics of the table in the documentation, with the reasons of the counts that have some.
fn documented() -> BTreeSet<String> {
    let source = include_str!("../../src/info.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("/// | `acceptor_cluster_"));
    let names = rows.map(|row| format!("acceptor_cluster_{}", row.split('`').next().unwrap()));
    let reasons = |name: String| {
        match name.as_str() {
            "acceptor_cluster_dropped_total" => vec!["expired", "failed", "unconfirmed", "overflowed"],
            "acceptor_cluster_refused_total" => vec!["unknown_version", "unknown_kind", "unreadable", "panicked"],
            _ => return vec![name],
        }
        .iter()
        .map(|reason| format!("{name} {reason}"))
        .collect()
    };
    names.flat_map(reasons).collect()
}

#[actix::test]
async fn every_documented_metric_exists_from_the_start() {
    recorder();
    let server = NatsServer::start();
    let (one, two) = (Node::start(nats(&server.url).node("measured")).await, Node::start(nats(&server.url)).await);
    let found: BTreeSet<_> = values("measured").into_keys().collect();
    assert!(!found.is_empty() && found == documented(), "{:?}", found.symmetric_difference(&documented()));
    let mut ann = one.named("ann").await;
    ask(&mut ann, "join lobby", "true").await;
    in_time(one.cluster.topic("lobby").subscribed()).await.unwrap();
    one.cluster.topic("lobby").publish("hello").remote.unwrap();
    two.cluster.topic("lobby").publish("hello").remote.unwrap();
    in_time(two.cluster.send("ann", "hello")).await.unwrap();
    let expected = [
        ("connected", 1.0),
        ("joined", 1.0),
        ("names", 1.0),
        ("topics", 1.0),
        ("published_total", 1.0),
        ("requests_total", 1.0),
    ];
    eventually(|| {
        let values = values("measured");
        expected.iter().all(|(name, value)| values[&format!("acceptor_cluster_{name}")] == *value)
    })
    .await;
    assert!(values("measured")["acceptor_cluster_lease_seconds"] > 0.0);
    let info: ClusterInfo = one.cluster.info();
    assert_eq!((info.names, info.topics, info.published, info.requests), (1, 1, 1, 1));
    in_time(one.cluster.leave()).await;
    let values = values("measured");
    assert_eq!((values["acceptor_cluster_connected"], values["acceptor_cluster_names"]), (0.0, 0.0));
    in_time(two.cluster.leave()).await;
}
