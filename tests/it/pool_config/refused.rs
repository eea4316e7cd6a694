//! Configurations that a running pool refuses: then nothing has changed.

use std::error::Error;
use std::time::Duration;

use actix_acceptor::error::ReloadError;
use actix_acceptor::{AcceptorPool, PoolConfig, Socket};
use support::*;

use super::{start, toml};

#[actix::test]
async fn a_reload_is_applied_whole_or_not_at_all() {
    let folder = Folder::create();
    let (socket, file) = (folder.path("new.sock"), folder.path("pool.toml"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied = format!("{{ address = 'tcp://{}' }}", taken.local_addr().unwrap());
    let pool = start(&toml("drain.grace = '9s'")).await.unwrap();
    let (settings, addresses) = (pool.settings(), pool.local_addrs());

    for (setting, framing, other, key) in [
        ("mailbox_capacity = 0", "'raw'", "", "settings.mailbox_capacity"),
        ("watchdog = 'never'", "'raw'", "", "settings.watchdog"),
        ("grace = 'never'", "'len3'", "", "framing.name"),
        ("grace = 'never'", "'raw'", "{ address = 'tls://127.0.0.1:0' }", "listeners[1].tls"),
        (
            "grace = 'never'",
            "'raw'",
            "{ address = 'tls://127.0.0.1:0', tls = { cert = 'none.pem', key = 'none.key' } }",
            "listeners[1].tls",
        ),
        ("grace = 'never'", "'raw'", "{ address = 'tcp://127.0.0.1:0', backlog = 0 }", "listeners[1].backlog"),
        ("grace = 'never'", "'raw'", &occupied, ""),
    ] {
        let text = format!(
            "settings = {{ max_connections = 50, {setting} }}\nframing.name = {framing}\ndrain.grace = '1s'\n\
             listeners = [{{ address = 'unix://{}' }}, {other}]",
            socket.display()
        );
        std::fs::write(&file, text).unwrap();
        let error = in_time(pool.reload(&PoolConfig::load(&file).unwrap())).await.unwrap_err();
        match &error {
            ReloadError::Invalid(invalid) => {
                assert_eq!((invalid.len(), &*invalid[0].key), (1, key), "{error}");
                assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
            }
            ReloadError::Listeners(_) => {
                assert_eq!(key, "", "{error}");
                let address = taken.local_addr().unwrap();
                let text = format!("{}: listeners[1].address: cannot open {address} (pass", file.display());
                assert!(error.to_string().starts_with(&text), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.settings(), settings, "{error}");
        assert_eq!(pool.local_addrs(), addresses, "{error}");
        // The listener that could be opened is closed again.
        assert!(!socket.exists(), "{error}");
        // The framing is still by lines.
        connect(&pool).await.echo("a line\n").await;
    }
    let error = in_time(pool.reload(&PoolConfig::load(&file).unwrap())).await.unwrap_err();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    assert_eq!(source.unwrap().kind(), std::io::ErrorKind::AddrInUse);
    let reloaded = in_time(pool.reload(&toml("drain.grace = '9s'"))).await.unwrap();
    assert!(reloaded.drain.is_none(), "the drain was not changed: {reloaded}");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_untyped_handle_reloads_what_its_handler_has() {
    let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await.unwrap().untyped();
    let config = toml("framing.name = 'lines'\nsettings.max_connections = 50");
    match in_time(pool.reload(&config)).await {
        Err(ReloadError::Invalid(invalid)) => assert_eq!(invalid[0].key, "framing"),
        other => panic!("{other:?}"),
    }
    assert_ne!(pool.settings().max_connections, 50);
    in_time(pool.reload(&toml("settings.max_connections = 50"))).await.unwrap();
    assert_eq!(pool.settings().max_connections, 50);
    in_time(pool.stop(Duration::ZERO)).await;

    let lines = start(&toml("")).await.unwrap().untyped();
    in_time(lines.reload(&toml("framing.name = 'len1'"))).await.unwrap();
    connect(&lines).await.echo(b"\x02ab").await;
    in_time(lines.stop(Duration::ZERO)).await;
    assert!(matches!(in_time(lines.reload(&config)).await, Err(ReloadError::NotRunning)));
}
