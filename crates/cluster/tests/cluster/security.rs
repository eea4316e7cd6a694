//! Tokens, users, credentials and TLS.

use std::path::Path;

use actix_acceptor_cluster::{Cluster, ClusterBuilder, ConnectError};
use support::in_time;
use support::pki::Pki;

use crate::nats_server::NatsServer;
use crate::settings::{error_of, pool};

/// Whether a node with these settings joins.
pub(crate) async fn joins(builder: ClusterBuilder) {
    let pool = pool().await;
    let cluster = in_time(builder.connect(&pool)).await.unwrap();
    assert_eq!(in_time(cluster.nodes()).await.unwrap(), [cluster.node().into()]);
    in_time(cluster.leave()).await;
}

/// Asserts that the server refuses the node, and that the error says so without the secret.
pub(crate) async fn refused(builder: ClusterBuilder) {
    let error = error_of(builder).await;
    let text = format!("{error}: {error:?}");
    assert!(matches!(error, ConnectError::Unauthorized { .. }), "{text}");
    assert!(text.to_lowercase().contains("authorization") && !text.contains("wrong"), "{text}");
}

async fn no_tls(builder: ClusterBuilder) {
    let error = error_of(builder).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}: {error:?}");
}

#[actix::test]
async fn a_node_authenticates_with_a_token() {
    let server = NatsServer::with_config("authorization { token: right }");
    joins(Cluster::nats(&server.url).token("right")).await;
    refused(Cluster::nats(&server.url).token("wrong")).await;
    refused(Cluster::nats(&server.url)).await;
}

#[actix::test]
async fn a_node_authenticates_with_a_user_and_a_password() {
    let server = NatsServer::with_config("authorization { user: ann, password: \"p@ss\" }");
    joins(Cluster::nats(&server.url).user("ann", "p@ss")).await;
    joins(Cluster::nats(format!("nats://ann:p%40ss@127.0.0.1:{}", server.port()))).await;
    refused(Cluster::nats(&server.url).user("ann", "wrong")).await;
    refused(Cluster::nats(format!("nats://ann:wrong@127.0.0.1:{}", server.port()))).await;
}

/// A server that has this certificate.
fn with_tls(pki: &Pki, more: &str) -> NatsServer {
    let (certificate, key) = pki.issue("localhost");
    let path = |path: &Path| path.display().to_string();
    NatsServer::with_config(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
        path(&certificate),
        path(&key),
        path(&pki.authority()),
    ))
}

#[actix::test]
async fn a_server_with_tls_is_trusted_by_its_authority() {
    let (pki, other) = (Pki::generate(), Pki::generate());
    let server = with_tls(&pki, "");
    let url = format!("nats://localhost:{}", server.port());
    joins(Cluster::nats(&url).authorities(pki.authority())).await;
    joins(Cluster::nats(&url).authorities(other.authority()).authorities(pki.authority())).await;
    joins(Cluster::nats(url.replace("nats:", "tls:")).authorities(pki.authority())).await;
    no_tls(Cluster::nats(&url).authorities(other.authority())).await;
    // The authority is none of the system's, and the certificate is for another name.
    no_tls(Cluster::nats(&url)).await;
    no_tls(Cluster::nats(format!("nats://127.0.0.1:{}", server.port())).authorities(pki.authority())).await;
}

#[actix::test]
async fn a_node_shows_its_certificate_to_a_server_that_asks_for_one() {
    let pki = Pki::generate();
    let server = with_tls(&pki, "verify: true");
    let url = format!("nats://localhost:{}", server.port());
    let (certificate, key) = pki.issue("node");
    joins(Cluster::nats(&url).authorities(pki.authority()).client_certificate(&certificate, &key)).await;
    no_tls(Cluster::nats(&url).authorities(pki.authority())).await;
    let other = Pki::generate();
    let (certificate, key) = other.issue("node");
    no_tls(Cluster::nats(&url).authorities(pki.authority()).client_certificate(certificate, key)).await;
}

#[actix::test]
async fn a_node_that_requires_tls_does_not_use_a_plain_server() {
    let server = NatsServer::start();
    let pki = Pki::generate();
    no_tls(Cluster::nats(&server.url).authorities(pki.authority()).require_tls(true)).await;
    no_tls(Cluster::nats(server.url.replace("nats:", "tls:")).authorities(pki.authority())).await;
}
