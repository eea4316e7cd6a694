//! `Pool::reload`: a configuration for a running pool.

use std::time::Duration;

use actix_acceptor::{Drain, PoolConfig};
use serde_json::json;
use support::pki::Pki;
use support::*;
use tokio::net::UnixStream;

use super::{start, toml, unix};

#[actix::test]
async fn a_reload_returns_what_it_changed() {
    let folder = Folder::create();
    let (old, new) = (folder.path("old.sock"), folder.path("new.sock"));
    let pool = start(&toml(&unix(&old))).await.unwrap();
    let mut before = Peer(UnixStream::connect(&old).await.unwrap());
    before.echo("a line\n").await;

    let text = format!(
        "{}settings.max_connections = 50\nframing = {{ name = 'len1' }}\ndrain = {{ grace = '7s', delay = '1s' }}",
        unix(&new)
    );
    let reloaded = in_time(pool.reload(&toml(&text))).await.unwrap();
    assert_eq!(
        serde_json::to_value(&reloaded).unwrap(),
        json!({
            "settings": { "max_connections": { "old": 16384, "new": 50 } },
            "listeners": {
                "added": [new.to_str()], "removed": [old.to_str()], "changed": [], "unchanged": [],
            },
            "framing": {
                "setting": "framing", "old": "lines, max_frame 1048576", "new": "len1, max_frame 1048576",
            },
            "drain": {
                "setting": "drain", "old": "grace as in the settings, delay 0s", "new": "grace 7s, delay 1s",
            },
        })
    );
    let shown = reloaded.to_string();
    assert!(shown.contains("max_connections: 16384 -> 50") && shown.contains("added: "), "{shown}");

    assert_eq!(pool.info().max_connections, 50);
    assert_eq!(pool.local_addrs().len(), 1);
    // A live connection keeps its framing, a new one has the new one.
    before.echo("another line\n").await;
    Peer(UnixStream::connect(&new).await.unwrap()).echo(b"\x02ab").await;

    let again = in_time(pool.reload(&toml(&text))).await.unwrap();
    assert!(again.is_empty(), "{again}");
    assert_eq!(again.to_string(), "nothing changed");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn own_sockets_are_as_many_as_acceptors_after_the_reload() {
    let pool = start(&toml("")).await.unwrap();
    let text = "settings.acceptors = 3\n\
                listeners = [{ address = 'tcp://127.0.0.1:0', name = 'own', reuse_port_per_acceptor = true }]";
    in_time(pool.reload(&toml(text))).await.unwrap();
    assert_eq!(pool.listeners()[0].options.sockets, Some(3));
    connect(&pool).await.echo("a line\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_reload_leaves_what_it_does_not_name_as_it_is() {
    let pool = start(&toml("drain.delay = '7s'\nframing.max_frame = 4")).await.unwrap();
    let addresses = pool.local_addrs();
    pool.change(|settings| settings.mailbox_capacity = 99).await.unwrap();
    let settings = pool.settings();

    let reloaded = in_time(pool.reload(&toml("settings.max_connections = 50"))).await.unwrap();
    assert_eq!(reloaded.settings.settings().len(), 1, "{reloaded}");
    assert!(reloaded.listeners.is_empty() && reloaded.framing.is_none() && reloaded.drain.is_none(), "{reloaded}");
    let mut expected = settings;
    expected.max_connections = 50;
    assert_eq!(pool.settings(), expected);
    assert_eq!(pool.local_addrs(), addresses);
    connect(&pool).await.echo("four\n").await;

    // Another framing with the same limit, another grace period with the same delay.
    let reloaded = in_time(pool.reload(&toml("framing.name = 'len1'\ndrain.grace = 'never'"))).await.unwrap();
    assert_eq!(reloaded.framing.unwrap().new, "len1, max_frame 4");
    assert_eq!(reloaded.drain.unwrap().new, "grace never, delay 7s");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_drain_is_as_it_was_configured_last() {
    let pool = start(&toml("settings.grace = 'never'")).await.unwrap();
    let mut idle = connect(&pool).await;
    idle.echo("a line\n").await;
    in_time(pool.reload(&toml("drain.grace = '0s'"))).await.unwrap();
    let report = in_time(pool.drain(Drain::configured())).await;
    assert_eq!(report.forced, 1, "{report:?}");
    idle.until_gone().await;
}

#[actix::test]
async fn a_file_is_read_again_for_a_reload() {
    let folder = Folder::create();
    let file = folder.path("pool.json");
    std::fs::write(&file, r#"{ "settings": { "max_connections": 10 } }"#).unwrap();
    let pool = start(&PoolConfig::load(&file).unwrap()).await.unwrap();
    std::fs::write(&file, r#"{ "settings": { "max_connections": 20 } }"#).unwrap();
    let reloaded = in_time(pool.reload(&PoolConfig::load(&file).unwrap())).await.unwrap();
    assert_eq!(reloaded.to_string(), "max_connections: 10 -> 20");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_reload_reads_certificates_again() {
    let pki = Pki::generate();
    pki.issue_as("first.example", "server");
    let file = pki.file("pool.toml");
    let listener = "address = 'tls://127.0.0.1:0', name = 'tls'";
    for backend in ["rustls", "native-tls"] {
        pki.issue_as("first.example", "server");
        let tls = format!("cert = 'server.pem', key = 'server.key', backend = '{backend}'");
        std::fs::write(&file, format!("listeners = [{{ {listener}, tls = {{ {tls} }} }}]")).unwrap();
        let pool = start(&PoolConfig::load(&file).unwrap()).await.unwrap();
        let (reload, address) = (|| async { pool.reload(&PoolConfig::load(&file).unwrap()).await }, pool.local_addr());
        let mut before = Peer(pki.connect(connect(&pool).await.0, "first.example").await.unwrap());
        before.echo("before\n").await;

        // The same files: nothing has changed.
        let reloaded = in_time(reload()).await.unwrap();
        assert!(reloaded.is_empty(), "{backend}: {reloaded}");
        // A key that does not match: the old certificate stays.
        pki.issue_as("second.example", "other");
        std::fs::copy(pki.file("other.pem"), pki.file("server.pem")).unwrap();
        let error = in_time(reload()).await.unwrap_err().to_string();
        assert!(error.contains("listeners[0].tls") && error.contains("server.pem"), "{backend}: {error}");
        pki.connect(connect(&pool).await.0, "first.example").await.unwrap();
        // A new pair: new connections get it, on the same port.
        std::fs::copy(pki.file("other.key"), pki.file("server.key")).unwrap();
        let reloaded = in_time(reload()).await.unwrap();
        assert_eq!((reloaded.listeners.changed.as_slice(), pool.local_addr()), (&["tls".to_owned()][..], address));
        Peer(pki.connect(connect(&pool).await.0, "second.example").await.unwrap()).echo("after\n").await;
        before.echo("still there\n").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_reload_changes_an_open_listener() {
    let listener =
        |options: &str| toml(&format!("listeners = [{{ address = 'tcp://127.0.0.1:0', name = 'a', {options} }}]"));
    let pool = start(&listener("max_connections = 5")).await.unwrap();
    let address = pool.local_addr();
    let mut before = connect(&pool).await;
    before.echo("before\n").await;
    let trusted = "{ mode = 'required', trusted = ['127.0.0.0/8'] }";
    let reloaded = in_time(pool.reload(&listener(&format!("max_connections = 6, proxy_protocol = {trusted}")))).await;
    assert_eq!(reloaded.unwrap().listeners.changed, ["a"]);
    assert_eq!((pool.local_addr(), pool.listeners()[0].max_connections), (address, Some(6)));
    before.echo("still there\n").await;
    let mut after = connect(&pool).await;
    after.send("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n").await;
    after.echo("after\n").await;
    assert_eq!(pool.list()[1].peer.to_string(), "203.0.113.7:4711");
    in_time(pool.stop(Duration::ZERO)).await;
}
