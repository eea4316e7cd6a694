//! Configurations that are invalid: the error names the file, the key and the value.

use std::error::Error;

use actix_acceptor::{AcceptorPool, PoolConfig, Socket, StartError};
use support::*;
use tokio_util::codec::LinesCodec;

use super::{start, toml};

#[test]
fn a_file_that_is_invalid_names_file_key_and_value() {
    let folder = Folder::create();
    for (text, key, named) in [
        ("settings.max_connections = -1", "settings.max_connections", "-1"),
        ("settings.max_connections = 'many'", "settings.max_connections", "many"),
        ("[settings]\nidle_timeout = 'soon'", "settings.idle_timeout", "soon"),
        ("[settings]\n\nmax_conections = 5", "settings", "max_conections"),
        ("[settings]\n\nmax_conections = 5", "settings", "line 3 column 1"),
        ("listener = []", "", "listener"),
        ("listeners = [{ name = 'a' }]", "listeners[0]", "address"),
        ("listeners = [{ address = '127.0.0.1:7878' }]", "listeners[0].address", "tcp://HOST:PORT"),
        ("listeners = [{ address = 'unix://relative' }]", "listeners[0].address", "unix://relative"),
        ("listeners = [{ address = 'tcp://::1:7' }]", "listeners[0].address", "brackets"),
        ("[[listeners]]\naddress = 'tcp://[::1]:7'\nport = 7", "listeners[0]", "port"),
        ("drain.grace = 5", "drain.grace", "5"),
        ("framing = 'lines'", "framing", "lines"),
        ("not toml", "", "line 1"),
    ] {
        let file = folder.path("pool.toml");
        std::fs::write(&file, text).unwrap();
        let error = PoolConfig::load(&file).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("{}: ", file.display())), "{shown}");
        assert!(error.key.starts_with(key) && shown.contains(named), "{text}: {shown} (key {:?})", error.key);
        assert_eq!(error.file.as_deref(), Some(&*file));
    }
    let error = PoolConfig::from_json("{\n\"settings\": { \"max_connections\": -1 } }").unwrap_err();
    assert_eq!(error.key, "settings.max_connections");
    assert!(error.to_string().contains("line 2 column"), "{error}");
    assert!(!error.why.contains("max_connections"), "the key is named once: {error}");
    assert!(PoolConfig::from_json("{} {}").is_err());
}

#[test]
fn a_file_that_cannot_be_read_keeps_the_reason() {
    let folder = Folder::create();
    let missing = PoolConfig::load(folder.path("none.toml")).unwrap_err();
    assert!(missing.to_string().contains("none.toml"), "{missing}");
    let source = missing.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    let format = PoolConfig::load(folder.path("pool.yaml")).unwrap_err();
    assert!(format.to_string().contains(".toml"), "{format}");
}

#[cfg(unix)]
#[test]
fn what_is_no_configuration_file_is_refused_at_once() {
    let folder = Folder::create();
    let (pipe, directory, long) = (folder.path("pipe.toml"), folder.path("directory.toml"), folder.path("long.json"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::fs::File::create(&long).unwrap().set_len(4 << 20 | 1).unwrap();
    for (path, why) in [(pipe, "not a regular file"), (directory, "not a regular file"), (long, "4194304 bytes")] {
        let (sender, loaded) = std::sync::mpsc::channel();
        let of = path.clone();
        // The open of a pipe waits for its other end.
        std::thread::spawn(move || drop(sender.send(PoolConfig::load(of))));
        let error = loaded.recv_timeout(TIME_LIMIT).expect("no wait").unwrap_err();
        assert_eq!(error.file, Some(path));
        let source = error.source().unwrap().to_string();
        assert!(source.contains(why), "{error}: {source}");
    }
}

#[actix::test]
async fn a_pool_does_not_start_with_an_invalid_configuration() {
    for (text, key, named) in [
        ("listeners = []", "listeners", "at least one"),
        ("framing.name = 'len3'", "framing.name", "len3"),
        ("framing.max_frame = 0", "framing.max_frame", "at least 1"),
        ("framing = { name = 'raw', delimiter = '.' }", "framing.delimiter", "framing.name"),
        ("framing.delimiter = ''", "framing.delimiter", "at least 1"),
        ("listeners = [{ address = 'tls://127.0.0.1:0' }]", "listeners[0].tls", "missing"),
        (
            "listeners = [{ address = 'tcp://127.0.0.1:0', tls = { cert = 'a', key = 'b' } }]",
            "listeners[0].tls",
            "tls://127.0.0.1:0",
        ),
        (
            "listeners = [{ address = 'tls://127.0.0.1:0', tls = { cert = '/no/cert', key = '/no/key' } }]",
            "listeners[0].tls",
            "/no/cert",
        ),
        (
            "listeners = [{ address = 'tcp://127.0.0.1:0', proxy_protocol = { mode = 'required' } }]",
            "listeners[0].proxy_protocol.trusted",
            "trust_local",
        ),
        (
            "listeners = [{ address = 'tcp://127.0.0.1:0', proxy_protocol = { mode = 'optional', trusted = ['x'] } }]",
            "listeners[0].proxy_protocol.trusted",
            "CIDR",
        ),
        ("listeners = [{ address = 'unix:///tmp/x', mode = '99' }]", "listeners[0].mode", "99"),
    ] {
        match start(&toml(text)).await {
            Err(StartError::Config(error)) => {
                assert_eq!(error.key, key, "{error}");
                assert!(error.to_string().contains(named), "{error}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[actix::test]
async fn every_invalid_key_is_named_at_once() {
    let config = toml(
        r#"
        framing.name = "len3"
        listeners = [{ address = "tls://127.0.0.1:0" }, { address = "unix:///tmp/x", mode = "x" }]
        "#,
    );
    let error = start(&config).await.unwrap_err().to_string();
    for key in ["framing.name", "listeners[0].tls", "listeners[1].mode"] {
        assert!(error.contains(key), "{error}");
    }
}

#[actix::test]
async fn a_handler_without_framing_refuses_one() {
    let config = toml("framing.name = 'lines'\nlisteners = [{ address = 'tcp://127.0.0.1:0' }]");
    let by_fn = AcceptorPool::with_fn(|_: Socket| async {}).config(&config).start().await.unwrap_err();
    let other_codec = AcceptorPool::with_codec(|_| Shout, LinesCodec::new).config(&config).start().await.unwrap_err();
    for error in [by_fn, other_codec] {
        assert!(matches!(&error, StartError::Config(error) if error.key == "framing"), "{error:?}");
    }
}

/// A protocol with a codec that is no framing.
#[derive(Debug)]
struct Shout;

impl actix_acceptor::Protocol for Shout {
    type Codec = LinesCodec;
    type Reply = String;
    type User = ();

    fn packet(&mut self, line: String, _: &mut actix_acceptor::Conn<Self>) -> actix_acceptor::Next<Self> {
        actix_acceptor::Next::Send(line.to_uppercase())
    }
}

/// The errors of a start, each as a text.
async fn refused(text: &str) -> Vec<String> {
    match start(&toml(text)).await.unwrap_err() {
        StartError::Several(errors) => errors.iter().map(ToString::to_string).collect(),
        error => vec![error.to_string()],
    }
}

#[actix::test]
async fn errors_of_listeners_name_the_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = "listeners = [{ address = 'tcp://127.0.0.1:0' }, \
                { address = 'tcp://127.0.0.1:0', name = 'inside', max_connections = 0, \
                accept_rate = { burst = 0, per = \"1s\" }, backlog = 0, mode = '600' }]";
    assert_eq!(
        refused(text).await,
        [
            "listeners[1].max_connections: must be at least 1 (got 0)",
            "listeners[1].accept_rate: `burst` and `per` must be greater than zero (got burst 0, per 1s)",
            "listeners[1].mode: not available for a TCP listener",
            "listeners[1].backlog: must be at least 1 (got 0)",
        ]
    );
    let text = format!("listeners = [{{ address = 'tcp://127.0.0.1:0' }}, {{ address = 'tcp://{address}' }}]");
    let refused = refused(&text).await;
    assert_eq!(refused.len(), 1, "{refused:?}");
    let expected = format!("listeners[1].address: cannot open {address} (pass another address");
    assert!(refused[0].starts_with(&expected), "{refused:?}");
}

#[actix::test]
async fn a_reload_names_the_key_of_a_listener() {
    let pool = start(&toml("listeners = [{ address = 'tcp://127.0.0.1:0', name = 'inside' }]")).await.unwrap();
    let address = format!("address = 'tcp://{}'", pool.local_addr().unwrap());
    let folder = Folder::create();
    let file = folder.path("server.toml");
    for (listeners, error) in [
        (
            format!("{{ {address}, reuse_port = true }}"),
            "listeners[0].reuse_port: cannot change from false to true while the socket is open; remove the listener, then \
             add it again"
                .to_owned(),
        ),
        #[cfg(target_os = "linux")]
        (
            format!("{{ {address}, multipath_tcp = 'try' }}"),
            "listeners[0].multipath_tcp: cannot change from Off to Try while the socket is open; remove the listener, then \
             add it again"
                .to_owned(),
        ),
        (
            format!("{{ {address} }}, {{ {address} }}"),
            format!("listeners[1].address: {} is in the list more than once; each address may be in it once", pool.local_addr().unwrap()),
        ),
    ] {
        std::fs::write(&file, format!("listeners = [{listeners}]")).unwrap();
        let refused = in_time(pool.reload(&PoolConfig::load(&file).unwrap())).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("{}: {error}", file.display()));
        assert!(matches!(refused, actix_acceptor::error::ReloadError::Invalid(_)), "{refused:?}");
    }
    in_time(pool.stop(std::time::Duration::ZERO)).await;
}

#[test]
fn an_invalid_value_is_one_line_with_an_example() {
    for (text, error) in [
        (
            "[settings]\nat_limit = 'hold'",
            r#"settings.at_limit: invalid value: string "hold", expected "wait", "close", "reset" or { hold = "2s" } at line 2 column 12"#,
        ),
        (
            "[settings]\n\nidle_timeout = 300",
            r#"settings.idle_timeout: invalid type: integer `300`, expected a time such as "10s" or "1h 30m", or "never" at line 3 column 16"#,
        ),
        (
            "settings.restart_window = 10",
            r#"settings.restart_window: invalid type: integer `10`, expected a time such as "10s" or "1h 30m" at line 1 column 27"#,
        ),
        (
            "[settings]\nmax_connections = 99999999999999999999",
            "settings.max_connections: invalid value: integer `99999999999999999999`, expected a whole number from 0 to \
             18446744073709551615 at line 2 column 19",
        ),
        (
            "[settings]\nmax_per_peer = -1",
            r#"settings.max_per_peer: invalid value: integer `-1`, expected a whole number such as 100, or "none" at line 2 column 16"#,
        ),
        (
            "[settings]\naccept_rate = 5",
            r#"settings.accept_rate: invalid value: integer `5`, expected a table such as { burst = 100, per = "1s" }, or "none" at line 2 column 15"#,
        ),
        (
            "[settings]\nactive = { count = -3 }",
            "settings.active.count: invalid value: integer `-3`, expected a whole number from 0 to 4294967295 at line 2 column 20",
        ),
        (
            "[settings]\npeer_prefix = 5",
            "settings.peer_prefix: invalid type: integer `5`, expected a table such as { v4 = 32, v6 = 64 } at line 2 column 15",
        ),
        (
            "framing = 'lines'",
            r#"framing: invalid type: string "lines", expected a table such as { name = "lines", max_frame = 65536 } at line 1 column 11"#,
        ),
        ("drain = {}\n[settings]\ngrace = '1s'\ngrace = '2s'", "duplicate key `grace` at line 4 column 1"),
    ] {
        assert_eq!(PoolConfig::from_toml(text).unwrap_err().to_string(), error);
    }
    let error = PoolConfig::from_json(r#"{ "settings": { "backlog_on_close": "keep" } }"#).unwrap_err();
    let text =
        r#"settings.backlog_on_close: invalid value: string "keep", expected "accept", "refuse" or "drop" at line 1"#;
    assert!(error.to_string().starts_with(text), "{error}");
}

#[test]
fn no_error_of_a_file_has_terms_of_rust() {
    for text in [
        "settings = 5",
        "settings.acceptors = 'x'",
        "settings.max_blocking = []",
        "settings.peer_prefix = { v4 = 300, v6 = 64 }",
        "settings.peer_rate = { burst = -1, per = '1s' }",
        "settings.half_close = 5",
        "settings.rules = 5",
        "settings.refusal_message = 5",
        "settings.backlog_on_close = 5",
        "framing.max_frame = -1",
        "listeners = 5",
        "listeners = [5]",
        "listeners = [{ address = 5 }]",
        "listeners = [{ address = 'tcp://127.0.0.1:0', backlog = -1 }]",
        "listeners = [{ address = 'tcp://127.0.0.1:0', keepalive = 5 }]",
        "listeners = [{ address = 'tcp://127.0.0.1:0', keepalive = { time = 5 } }]",
        "listeners = [{ address = 'tls://127.0.0.1:0', tls = 5 }]",
        "drain = 5",
        "drain.delay = 5",
    ] {
        let error = PoolConfig::from_toml(text).unwrap_err().to_string();
        for term in ["usize", "u8", "u32", "i64", "i128", "struct", "variant", "Option", "\n", "duration"] {
            assert!(!error.contains(term), "{text}: {error}");
        }
        assert!(error.contains("line 1 column"), "{text}: {error}");
    }
}
