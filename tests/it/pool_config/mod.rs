//! The configuration of a pool in a file, with the feature `config`.

mod in_file;
mod invalid;
mod refused;
mod reload;
mod services;

use std::path::Path;
use std::time::Duration;

use actix_acceptor::{limits::Rate, AcceptorPool, Connection, Framing, Pool, PoolConfig, StartError};
use support::pki::{connect_as, Pki};
use support::*;
use tokio::net::UnixStream;

/// A configuration from a text in TOML.
fn toml(text: &str) -> PoolConfig {
    PoolConfig::from_toml(text).unwrap()
}

async fn start(config: &PoolConfig) -> Result<Pool<Connection<Echo>>, StartError> {
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).acceptors(1).max_per_peer(9);
    builder.listener(actix_acceptor::Listener::tcp("127.0.0.1:0")).config(config).start().await
}

/// A listener on a Unix socket, as TOML.
fn unix(path: &Path) -> String {
    format!("listeners = [{{ address = 'unix://{}' }}]\n", path.display())
}

#[actix::test]
async fn a_pool_starts_as_its_file_says() {
    let folder = Folder::create();
    let path = folder.path("echo.sock");
    let text = format!(
        r#"
        [settings]
        max_connections = 100
        idle_timeout = "never"
        [framing]
        name = "len2"
        max_frame = 4
        [[listeners]]
        address = "tcp://127.0.0.1:0"
        name = "public"
        max_connections = 50
        accept_rate = {{ burst = 20, per = "1s" }}
        nodelay = false
        keepalive = {{ time = "60s", interval = "10s", retries = 4 }}
        backlog = 16
        [[listeners]]
        address = "unix://{}"
        mode = "600"
        "#,
        path.display()
    );
    let file = folder.path("pool.toml");
    std::fs::write(&file, text).unwrap();
    let pool = start(&PoolConfig::load(&file).unwrap()).await.unwrap();

    let settings = pool.settings();
    assert_eq!((settings.acceptors, settings.max_per_peer), (Some(1), Some(9)));
    assert_eq!((settings.max_connections, settings.idle_timeout), (100, None));
    let listeners = pool.listeners();
    assert_eq!(listeners.len(), 2, "{listeners:?}");
    assert_eq!((&*listeners[0].name, listeners[0].max_connections), ("public", Some(50)));
    assert_eq!(
        (listeners[0].accept_rate, listeners[1].accept_rate),
        (Some(Rate::new(20, Duration::from_secs(1))), None)
    );
    assert_eq!(listeners[1].address.to_string(), path.display().to_string());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    connect(&pool).await.echo(b"\0\x03abc").await;
    let mut peer = Peer(UnixStream::connect(&path).await.unwrap());
    peer.echo(b"\0\x04abcd").await;
    peer.send(b"\0\x05").await;
    peer.until_gone().await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn what_a_file_leaves_out_stays_as_the_program_has_it() {
    let pool = start(&toml("")).await.unwrap();
    assert_eq!((pool.settings().acceptors, pool.settings().max_per_peer), (Some(1), Some(9)));
    assert_eq!(pool.listeners().len(), 1);
    connect(&pool).await.echo("a line\n").await;
    in_time(pool.stop(Duration::ZERO)).await;

    // A limit alone leaves the framing as it is.
    let pool = start(&toml("framing.max_frame = 4")).await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("four\n").await;
    peer.send("five!").await;
    peer.until_gone().await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[test]
fn toml_and_json_mean_the_same() {
    let toml = toml(
        r#"
        settings = { max_age = "1h", max_per_peer = "none" }
        framing = { delimiter = "\r\n.\r\n", max_frame = 10 }
        drain = { grace = "never", delay = "3s" }
        [[listeners]]
        address = "tls://[::1]:7443"
        proxy_protocol = { mode = "required", trusted = ["10.0.0.0/8"] }
        tls = { cert = "cert.pem", key = "key.pem", alpn = ["a", "b"], min_version = "1.3", backend = "rustls" }
        "#,
    );
    let json = serde_json::json!({
        "settings": { "max_age": "1h", "max_per_peer": null },
        "framing": { "delimiter": "\r\n.\r\n", "max_frame": 10 },
        "drain": { "grace": null, "delay": "3s" },
        "listeners": [{
            "address": "tls://[::1]:7443",
            "proxy_protocol": { "mode": "required", "trusted": ["10.0.0.0/8"] },
            "tls": { "cert": "cert.pem", "key": "key.pem", "alpn": ["a", "b"], "min_version": "1.3", "backend": "rustls" },
        }],
    });
    assert_eq!(PoolConfig::from_json(&json.to_string()).unwrap(), toml);
    assert_eq!(serde_json::from_value::<PoolConfig>(json).unwrap(), toml);
    assert_eq!((toml.drain.grace, toml.drain.delay), (Some(None), Some(Duration::from_secs(3))));
}

#[actix::test]
async fn a_listener_is_secured_as_its_file_says() {
    let pki = Pki::generate();
    pki.issue("localhost");
    pki.issue("other.example");
    let file = pki.file("pool.toml");
    let text = r#"
        [[listeners]]
        address = "tls://127.0.0.1:0"
        proxy_protocol = { mode = "optional", trusted = ["127.0.0.0/8"] }
        [listeners.tls]
        cert = "localhost.pem"
        key = "localhost.key"
        sni = [{ name = "other.example", cert = "other.example.pem", key = "other.example.key" }]
        alpn = ["echo/1"]
    "#;
    std::fs::write(&file, text).unwrap();
    // The paths of the certificates are relative to the file.
    let pool = start(&PoolConfig::load(&file).unwrap()).await.unwrap();
    assert!(pool.listeners()[0].tls);
    for name in ["localhost", "other.example"] {
        let mut peer = connect(&pool).await;
        peer.send("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n").await;
        // The client accepts only a certificate for this name.
        let mut config = pki.client(None);
        config.alpn_protocols = vec![b"echo/1".to_vec()];
        let mut peer = Peer(connect_as(config, peer.0, name).await.unwrap());
        assert_eq!(peer.0.get_ref().1.alpn_protocol(), Some(&b"echo/1"[..]));
        peer.echo("secret\n").await;
        assert_eq!(pool.list()[0].peer.to_string(), "203.0.113.7:4711");
        drop(peer);
        in_time(pool.wait_for(|connections| connections == 0, None)).await.unwrap();
    }
    in_time(pool.stop(Duration::ZERO)).await;
}
