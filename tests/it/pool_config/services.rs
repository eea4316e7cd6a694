//! Listeners of a configuration that choose a service by its name.

use std::time::Duration;

use actix_acceptor::handlers::{FnService, ProtocolService};
use actix_acceptor::{AcceptorPool, Connection, Framing, Pool, PoolConfig, Socket, StartError};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::toml;

async fn start(config: &PoolConfig) -> Result<Pool<Connection<Echo>>, StartError> {
    let greet = FnService::new(|mut socket: Socket| async move { socket.write_all(b"hello").await });
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).acceptors(1);
    let builder = builder.named_service("greet", FnService::new(echo)).named_service("other", FnService::new(echo));
    builder.named_service("greet", greet).config(config).start().await
}

/// A listener at a Unix socket, with this service.
fn listener(path: &std::path::Path, service: &str) -> PoolConfig {
    toml(&format!("[[listeners]]\naddress = 'unix://{}'\n{service}", path.display()))
}

#[actix::test]
async fn a_listener_chooses_a_service_by_its_name() {
    let folder = Folder::create();
    let path = folder.path("a.sock");
    let pool = start(&listener(&path, "service = 'greet'")).await.unwrap();
    let connect = async || Peer(UnixStream::connect(&path).await.unwrap());
    assert_eq!(connect().await.read_to_end().await, b"hello");

    let same = pool.reload(&listener(&path, "service = 'greet'")).await.unwrap();
    assert!(same.is_empty(), "{same}");
    let changed = pool.reload(&listener(&path, "")).await.unwrap();
    assert_eq!(changed.listeners.changed.len(), 1, "{changed}");
    connect().await.echo("lines\n").await;
    pool.reload(&listener(&path, "service = 'greet'")).await.unwrap();
    assert_eq!(connect().await.read_to_end().await, b"hello");

    let error = pool.reload(&listener(&path, "service = 'none'")).await.unwrap_err().to_string();
    assert!(error.contains("listeners[0].service") && error.contains(r#""none""#), "{error}");
    assert_eq!(connect().await.read_to_end().await, b"hello");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_unknown_service_names_the_known_ones() {
    let folder = Folder::create();
    let path = folder.path("a.sock");
    let error = start(&listener(&path, "service = 'gret'")).await.unwrap_err().to_string();
    for part in ["listeners[0].service", r#""gret""#, r#""other", "greet""#] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!path.exists(), "nothing was opened");
    let none = AcceptorPool::with_fn(echo).config(&listener(&path, "service = 'greet'")).start().await;
    let error = none.unwrap_err().to_string();
    assert!(error.contains("named_service"), "{error}");
}

#[actix::test]
async fn an_invalid_named_service_is_an_error() {
    let narrow = ProtocolService::new(|_| Echo).max_frame(0);
    let builder = AcceptorPool::with_protocol(|_| Echo).named_service("narrow", narrow);
    let error = builder.bind("127.0.0.1:0").await.unwrap_err().to_string();
    assert!(error.contains("max_frame") && error.contains(r#""narrow""#), "{error}");
}
