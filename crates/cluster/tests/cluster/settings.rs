//! The settings of a node, and what is wrong with them.

use std::time::Duration;

use actix_acceptor::{AcceptorPool, Connection, Framing, Pool};
use actix_acceptor_cluster::{Cluster, ClusterBuilder, ConnectError, LocalBus};
use support::{in_time, Folder};

use crate::nats_server::NatsServer;
use crate::nodes::Guest;

/// A pool without peers.
pub(crate) async fn pool() -> Pool<Connection<Guest>> {
    let builder = AcceptorPool::with_protocol(|_| Guest::without_cluster()).framing(Framing::lines());
    in_time(builder.acceptors(1).bind("127.0.0.1:0")).await.unwrap()
}

/// The error of a node with these settings.
pub(crate) async fn error_of(builder: ClusterBuilder) -> ConnectError {
    let pool = pool().await;
    in_time(builder.connect(&pool)).await.expect_err("the node has started")
}

#[actix::test]
async fn an_invalid_setting_is_an_error_with_the_value_and_the_range() {
    let nats = || Cluster::nats("nats://127.0.0.1:1");
    let zero = Duration::ZERO;
    let long = Duration::from_secs(3_601);
    let missing = Folder::create().path("missing.pem");
    let missing = missing.to_str().unwrap();
    let empty = Folder::create();
    std::fs::write(empty.path("empty.pem"), "").unwrap();
    let cases: Vec<(ClusterBuilder, &str, Vec<&str>)> = vec![
        (nats().node(""), "node", vec!["\"\"", "1 to"]),
        (nats().prefix("a.b"), "prefix", vec!["\"a.b\"", "1 to 64"]),
        (nats().ttl(zero), "ttl", vec!["0ns", "1s to 3600s"]),
        (nats().ttl(long), "ttl", vec!["3601s", "1s to 3600s"]),
        (nats().request_timeout(zero), "request_timeout", vec!["0ns", "1ms to 3600s"]),
        (nats().connect_timeout(zero), "connect_timeout", vec!["0ns", "1ms to 3600s"]),
        (nats().server_timeout(zero), "server_timeout", vec!["0ns", "100ms to 3600s"]),
        (nats().queue(0), "queue", vec!["0 bytes", "at least 1"]),
        (nats().replicas(2), "replicas", vec!["2", "1, 3 or 5"]),
        (nats().token("a").user("b", "secret"), "token", vec!["user", "one of them"]),
        (nats().authorities(missing), "authorities", vec![missing]),
        (nats().authorities(empty.path("empty.pem")), "authorities", vec!["empty.pem", "no certificates"]),
        (nats().client_certificate(missing, missing), "client_certificate", vec![missing]),
        (nats().credentials_file(missing), "credentials_file", vec![missing, "No such file"]),
        (nats().credentials_file(empty.path("empty.pem")), "credentials_file", vec!["empty.pem"]),
        (Cluster::nats(""), "server", vec!["\"\"", "nats://127.0.0.1:4222"]),
        (Cluster::nats("nats://ann:secret@a:port"), "server", vec!["nats://..@a:port", "port"]),
        (Cluster::nats("http://127.0.0.1"), "server", vec!["http://127.0.0.1"]),
        (Cluster::local().token("secret"), "token", vec!["Cluster::nats"]),
    ];
    for (builder, expected, parts) in cases {
        assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
        let error = error_of(builder).await;
        let text = error.to_string();
        assert!(matches!(error, ConnectError::InvalidSetting { setting, .. } if setting == expected), "{text}");
        assert!(!text.contains("secret") && parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[actix::test]
async fn without_a_server_the_error_names_the_address_and_the_way_out() {
    let error = error_of(Cluster::nats("nats://ann:secret@127.0.0.1:1")).await;
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{text}");
    assert!(text.contains("nats://127.0.0.1:1") && text.contains("start_alone"), "{text}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[actix::test]
async fn a_server_that_does_not_answer_is_an_error_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let limit = Duration::from_millis(200);
    let began = std::time::Instant::now();
    let error = error_of(Cluster::nats(format!("nats://localhost:{port}")).connect_timeout(limit)).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    // The default is 5 s.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[actix::test]
async fn a_server_without_jetstream_is_an_error_that_says_how_to_start_it() {
    let server = NatsServer::with_arguments(&[]);
    let error = error_of(Cluster::nats(&server.url)).await;
    assert!(matches!(error, ConnectError::NoJetStream { .. }), "{error:?}");
    assert!(
        error.to_string().contains("nats-server --jetstream") && error.to_string().contains(&server.url),
        "{error}"
    );
}

#[actix::test]
async fn nodes_with_different_settings_are_an_error_with_both_values() {
    let server = NatsServer::start();
    let pool = pool().await;
    let nats = || Cluster::nats(&server.url).ttl(Duration::from_secs(10));
    let first = in_time(nats().connect(&pool)).await.unwrap();
    in_time(nats().connect(&pool)).await.unwrap();
    let error = error_of(nats().ttl(Duration::from_secs(20))).await;
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Mismatch { setting: "ttl", .. }), "{text}");
    assert!(["acceptor_leases", "10s", "20s"].iter().all(|part| text.contains(part)), "{text}");
    let error = error_of(nats().replicas(3)).await;
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Mismatch { setting: "replicas", .. }), "{text}");
    assert!(["1 replicas", "3 replicas"].iter().all(|part| text.contains(part)), "{text}");
    drop(first);
    let bus = LocalBus::new();
    let first = in_time(Cluster::on(&bus).connect(&pool)).await.unwrap();
    let error = error_of(Cluster::on(&bus).ttl(Duration::from_secs(20))).await;
    assert!(matches!(error, ConnectError::Mismatch { setting: "ttl", .. }), "{error}");
    drop(first);
}
