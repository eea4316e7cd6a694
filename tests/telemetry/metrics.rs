//! The metrics: every name of the table with its labels and values, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_acceptor::transport::Tcp;
use actix_acceptor::{
    limits::{AtLimit, SlowConsumer},
    telemetry::{Alarm, CloseReason, HandshakeFailure, Metrics, RefusalReason},
    AcceptorPool, Framing, Next,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::prometheus::{only, Page};
use support::*;

/// One recorder for the process; each test looks at the pools of its own.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

fn now() -> Page {
    Page::of(&recorder().render())
}

/// The table in the documentation: each name with its kind and labels.
fn table() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = include_str!("../../src/telemetry/metrics.rs").lines().filter_map(|line| line.strip_prefix("/// | `"));
    let row = |row: &str| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let mut labels: BTreeSet<_> =
            cells[2].split(',').map(|label| label.trim().trim_matches('`').to_owned()).collect();
        labels.remove("");
        labels.insert("pool".to_owned());
        (cells[0].trim_end_matches('`').to_owned(), (cells[1].to_owned(), labels))
    };
    rows.map(row).collect()
}

#[actix::test]
async fn exactly_the_documented_metrics_are_recorded() {
    recorder();
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let (builder, _diary) = Probe::pool(move |call, _| match call {
        Call::Packet(word) if &**word == b"fail" => Next::fail("as asked"),
        Call::Packet(word) if &**word == b"block" => {
            gate.lock().unwrap().recv_timeout(TIME_LIMIT).unwrap();
            protocol_default(call)
        }
        Call::Packet(word) => Next::Send(word.clone()),
        call => protocol_default(call),
    });
    let (transport, script_handle) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = builder.framing(Framing::lines()).acceptors(1).name("all").max_connections(2);
    let builder = builder.at_limit(AtLimit::Close).watchdog(Duration::from_millis(50));
    let builder = builder.alarm(Alarm::new("busy", 2)).observer(Metrics::new());
    let pool = builder.listen(transport).await.unwrap();
    script_handle.accept_fails(libc::EMFILE);
    eventually(|| script_handle.left() == 0).await;
    let (mut first, mut second) = (connect(&pool).await, connect(&pool).await);
    first.echo("one\n").await;
    second.echo("two\n").await;
    connect(&pool).await.until_gone().await;
    second.send("three\nfail\n").await;
    second.until_gone().await;
    eventually(|| pool.connections() == 1).await;
    first.send("block\n").await;
    eventually(|| pool.info().blocked == 1).await;
    open.send(()).unwrap();
    first.echo("on\n").await;

    let at = "listener=all";
    // Those at 0 are checked below.
    let changed = |page: &Page, name: &str| {
        let mut values = page.values(name, "all");
        values.retain(|_, value| *value != 0.0);
        values
    };
    eventually(|| changed(&now(), "acceptor_connections_closed_total").len() == 1).await;
    // Bytes and packets of live connections are counted about once a second.
    eventually(|| now().values("acceptor_packets_total", "all") == only(at, 6.0)).await;
    let page = now();
    let values = |name: &str| changed(&page, name);
    assert_eq!(values("acceptor_connections"), only(at, 1.0));
    assert_eq!(values("acceptor_connections_started_total"), only(at, 2.0));
    assert_eq!(values("acceptor_connections_closed_total"), only("listener=all reason=error", 1.0));
    assert_eq!(values("acceptor_refused_total"), only("listener=all reason=limit", 1.0));
    assert_eq!(values("acceptor_connection_duration_seconds_count"), only(at, 1.0));
    assert!(values("acceptor_connection_duration_seconds_sum")[at] < TIME_LIMIT.as_secs_f64());
    assert_eq!(values("acceptor_received_bytes_total"), only(at, 28.0));
    assert_eq!(values("acceptor_sent_bytes_total"), only(at, 17.0));
    assert_eq!(values("acceptor_packets_total"), only(at, 6.0));
    assert_eq!((values("acceptor_ready"), values("acceptor_max_connections")), (only("", 1.0), only("", 2.0)));
    let zero = |name: &str| page.values(name, "all").values().filter(|value| **value == 0.0).count();
    assert_eq!(zero("acceptor_connections_closed_total"), CloseReason::ALL.len() - 1);
    assert_eq!(zero("acceptor_refused_total"), RefusalReason::ALL.len() - 1);
    assert_eq!(zero("acceptor_handshake_failures_total"), HandshakeFailure::ALL.len());
    for gauge in ["acceptor_outbox_bytes", "acceptor_at_limit"] {
        assert_eq!(page.values(gauge, "all"), only(at, 0.0));
    }
    for name in ["held_peers", "waiting_acceptors", "handshakes", "blocking_running", "blocking_queued"] {
        assert_eq!(page.values(&format!("acceptor_{name}"), "all"), only("", 0.0));
    }
    assert_eq!(page.values("acceptor_dropped_replies_total", "all"), only("", 0.0));
    assert_eq!(values("acceptor_max_handshakes"), only("", 1_024.0));
    assert_eq!(values("acceptor_accept_errors_total"), only(at, 1.0));
    assert_eq!(values("acceptor_acceptors"), only("", 1.0));
    assert_eq!(page.values("acceptor_acceptors_stopped_total", "all"), only("", 0.0));
    assert_eq!(values("acceptor_blocked_total"), only("", 1.0));
    assert_eq!(values("acceptor_alarms_total"), only("name=busy", 1.0));

    in_time(pool.stop(None)).await;
    let page = now();
    let values = |name: &str| page.values(name, "all");
    for gauge in ["acceptor_ready", "acceptor_max_connections", "acceptor_max_handshakes"] {
        assert_eq!(values(gauge), only("", 0.0));
    }
    assert_eq!(values("acceptor_connections"), only(at, 0.0));
    let closed = values("acceptor_connections_closed_total");
    assert_eq!((closed["listener=all reason=error"], closed["listener=all reason=shutdown"]), (1.0, 1.0));
    assert_eq!(values("acceptor_received_bytes_total"), only(at, 28.0));
    assert_eq!(values("acceptor_sent_bytes_total"), only(at, 17.0));
    assert_eq!(values("acceptor_packets_total"), only(at, 6.0));
    assert_eq!(
        (values("acceptor_acceptors"), values("acceptor_acceptors_stopped_total")),
        (only("", 0.0), only("", 1.0))
    );
    assert_eq!(values("acceptor_alarms_total"), only("name=busy", 1.0), "cleared is not raised");

    let table = table();
    assert_eq!(table.len(), 26, "{table:?}");
    let kinds = page.kinds.iter().filter(|(name, _)| name.starts_with("acceptor_"));
    // Without buckets of its own a histogram is a summary to Prometheus.
    let kinds: BTreeMap<_, _> =
        kinds.map(|(name, kind)| (name.clone(), kind.replace("summary", "histogram"))).collect();
    let mut promised: BTreeMap<_, _> = table.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    // This one begins with the first certificate, perhaps of another test.
    let expiry = "acceptor_certificate_expiry_timestamp_seconds";
    if !kinds.contains_key(expiry) {
        promised.remove(expiry);
    }
    assert_eq!(kinds, promised);
    for sample in page.samples.iter().filter(|sample| sample.labels.get("pool").is_some_and(|pool| pool == "all")) {
        let name = sample.name.trim_end_matches("_sum").trim_end_matches("_count");
        let (_, promised) = table.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let labels: BTreeSet<_> = sample.labels.keys().filter(|label| *label != "quantile").cloned().collect();
        assert_eq!(labels, *promised, "{name}");
    }
    for name in promised.keys() {
        assert!(recorder().render().contains(&format!("# HELP {name} ")), "{name} is described");
    }
}

#[actix::test]
async fn dropped_replies_and_blocking_closures_are_recorded() {
    recorder();
    let (open, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let (builder, _callbacks) = Probe::pool(move |call, conn| match call {
        Call::Packet(word) if word == "drop" => {
            let outbox = conn.outbox();
            (0..50).for_each(|_| drop(outbox.send(vec![b'x'; 100])));
            Next::Continue
        }
        Call::Packet(_) => {
            let gate = gate.clone();
            let work = move || gate.lock().unwrap().recv_timeout(TIME_LIMIT).unwrap();
            conn.blocking(work, |(), _, _| Next::send("done"))
        }
        call => protocol_default(call),
    });
    let builder = builder.framing(Framing::lines()).name("replies").observer(Metrics::new());
    let builder = builder.outbox(1_000, SlowConsumer::DropNewest).max_blocking(1);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let value = |name: &str| now().values(name, "replies").get("").copied();
    assert_eq!(value("acceptor_dropped_replies_total"), Some(0.0));
    let (mut first, mut second) = (connect(&pool).await, connect(&pool).await);
    first.send("drop\n").await;
    eventually(|| value("acceptor_dropped_replies_total").is_some_and(|dropped| dropped > 0.0)).await;
    assert_eq!(value("acceptor_dropped_replies_total"), Some(pool.info().dropped as f64));
    for peer in [&mut first, &mut second] {
        peer.send("block\n").await;
    }
    let blocking = || (value("acceptor_blocking_running"), value("acceptor_blocking_queued"));
    eventually(|| blocking() == (Some(1.0), Some(1.0))).await;
    (0..2).for_each(|_| open.send(()).unwrap());
    eventually(|| blocking() == (Some(0.0), Some(0.0))).await;
    in_time(pool.stop(None)).await;
    assert_eq!(value("acceptor_dropped_replies_total"), Some(pool.info().dropped as f64));

    // Another pool with this name counts from 0; the counter does not.
    let pool = AcceptorPool::with_protocol(|_| Echo).name("replies").observer(Metrics::new());
    let dropped = value("acceptor_dropped_replies_total");
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    assert_eq!(value("acceptor_dropped_replies_total"), dropped);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn gauges_return_to_zero_and_counters_match_the_pool() {
    recorder();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(3).name("churn").observer(Metrics::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let address = pool.local_addr().unwrap();
    let churn = || std::thread::spawn(move || (0..50).for_each(|_| BlockingPeer::connect(address).echo("hello")));
    let threads: Vec<_> = (0..4).map(|_| churn()).collect();
    eventually(|| threads.iter().all(|thread| thread.is_finished())).await;
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    eventually(|| pool.info().closed.total() == 200).await;
    in_time(pool.stop(None)).await;
    let (page, at) = (now(), "listener=churn");
    let value = |name: &str| page.values(name, "churn").values().sum::<f64>();
    assert_eq!((value("acceptor_connections"), value("acceptor_acceptors")), (0.0, 0.0));
    assert_eq!(page.values("acceptor_connections_started_total", "churn"), only(at, 200.0));
    assert_eq!(page.values("acceptor_connections_closed_total", "churn")["listener=churn reason=peer"], 200.0);
    assert_eq!(value("acceptor_connection_duration_seconds_count"), 200.0);
    assert_eq!((value("acceptor_received_bytes_total"), value("acceptor_sent_bytes_total")), (1000.0, 1000.0));
    assert_eq!((value("acceptor_packets_total"), value("acceptor_acceptors_stopped_total")), (200.0, 3.0));
}

/// The rules of Prometheus for names: https://prometheus.io/docs/practices/naming/
#[test]
fn the_names_follow_the_conventions() {
    for (name, (kind, labels)) in table() {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        for reserved in ["_count", "_sum", "_bucket", "_info", "_milliseconds", "_ms", "_kilobytes"] {
            assert!(!name.ends_with(reserved), "{name}");
        }
        assert!(!name.contains("gauge") && !name.contains("counter") && !name.contains("histogram"), "{name}");
        assert!(labels.iter().all(|label| !name.contains(&format!("by_{label}"))), "{name}");
    }
}

#[cfg(feature = "rustls")]
#[actix::test]
async fn the_gauges_of_a_removed_listener_are_reset() {
    recorder();
    let pki = support::pki::Pki::generate();
    let expires = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let (certificate, key) = pki.issue_until("localhost", expires);
    let tls = actix_acceptor::tls::Tls::rustls().files(certificate, key).build().unwrap();
    let listener = |name: &str| actix_acceptor::Listener::tcp("127.0.0.1:0").name(name);
    let pool = AcceptorPool::with_protocol(|_| Echo).name("gauges").max_connections(1).observer(Metrics::new());
    let pool = pool.listener(listener("secure").tls(tls)).listener(listener("plain")).start().await.unwrap();
    let value = |name: &str, at: &str| now().values(name, "gauges").get(&format!("listener={at}")).copied();
    let expiry = "acceptor_certificate_expiry_timestamp_seconds";
    assert_eq!((value(expiry, "secure"), value(expiry, "plain")), (Some(4e9), None));
    let address = pool.listeners()[1].address.socket().unwrap();
    let mut inside = Peer(in_time(tokio::net::TcpStream::connect(address)).await.unwrap());
    inside.echo("hello").await;
    eventually(|| value("acceptor_at_limit", "plain") == Some(1.0)).await;
    // Of a live connection.
    eventually(|| value("acceptor_received_bytes_total", "plain") == Some(5.0)).await;
    in_time(pool.set_listeners(vec![listener("other")])).await.unwrap();
    eventually(|| value(expiry, "secure").is_some_and(f64::is_nan)).await;
    eventually(|| value("acceptor_at_limit", "plain") == Some(0.0)).await;
    assert_eq!(value("acceptor_connections", "plain"), Some(1.0), "it stays open");
    assert_eq!(value("acceptor_connections_started_total", "other"), Some(0.0));
    in_time(pool.stop(None)).await;
    assert_eq!(
        (value("acceptor_connections", "plain"), value("acceptor_outbox_bytes", "plain")),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(value("acceptor_sent_bytes_total", "plain"), Some(5.0));
}

#[cfg(feature = "rustls")]
#[actix::test]
async fn the_expiry_of_a_removed_certificate_is_nan() {
    recorder();
    let pki = support::pki::Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    let tls = actix_acceptor::tls::Tls::rustls().files(certificate, key).build().unwrap();
    let listener = || actix_acceptor::Listener::tcp("127.0.0.1:0").name("secure");
    let pool = AcceptorPool::with_protocol(|_| Echo).name("uncertified").observer(Metrics::new());
    let pool = pool.listener(listener().tls(tls)).start().await.unwrap();
    let values = || now().values("acceptor_certificate_expiry_timestamp_seconds", "uncertified");
    let expiry = || values().get("listener=secure").copied();
    assert!(expiry().is_some_and(|expiry| expiry > 0.0));
    in_time(pool.set_listeners(vec![listener()])).await.unwrap();
    eventually(|| expiry().is_some_and(f64::is_nan)).await;
    in_time(pool.stop(None)).await;
}
