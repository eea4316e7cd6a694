//! `Pool::reload`: a configuration for a running pool.

use std::time::Duration;

use actix_acceptor::{Drain, PoolConfig};
use serde_json::json;
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
