//! The metrics: every name of the table with its labels and values, and no other; and the example that shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use actix_acceptor::transport::Tcp;
use actix_acceptor::{
    limits::AtLimit,
    telemetry::{Alarm, Metrics},
    AcceptorPool, Framing, Next,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::*;

/// One recorder for the process; each test looks at the pools of its own.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// A page as Prometheus reads it: the kind of each metric, and the samples.
struct Page {
    kinds: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Page {
    fn of(text: &str) -> Page {
        let (mut kinds, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                samples.push(sample(line));
            }
        }
        Page { kinds, samples }
    }

    fn now() -> Page {
        Page::of(&recorder().render())
    }

    /// The values of this metric, by what else but the pool it is labelled with.
    fn values(&self, name: &str, pool: &str) -> BTreeMap<String, f64> {
        let ours = |sample: &&Sample| sample.name == name && sample.labels["pool"] == pool;
        let others = |sample: &Sample| {
            let others = sample.labels.iter().filter(|(label, _)| *label != "pool");
            others.map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(" ")
        };
        self.samples.iter().filter(ours).map(|sample| (others(sample), sample.value)).collect()
    }
}

/// `name{label="value",label="value"} 1`
fn sample(line: &str) -> Sample {
    let (key, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    let labels = labels.strip_suffix('}').unwrap().split_terminator(',').map(|label| {
        let (label, value) = label.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
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

fn only(labels: &str, value: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([(labels.to_owned(), value)])
}

#[actix::test]
async fn exactly_the_documented_metrics_are_recorded() {
    recorder();
    let (open, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let (builder, _diary) = Probe::pool(move |call, _| match call {
        Call::Packet(word) if &**word == b"fail" => Next::fail("as asked"),
        Call::Packet(word) if &**word == b"block" => {
            gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            default_next(call)
        }
        Call::Packet(word) => Next::Send(word.clone()),
        call => default_next(call),
    });
    let (transport, director) = Scripted::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let builder = builder.framing(Framing::lines()).acceptors(1).name("all").max_connections(2);
    let builder = builder.at_limit(AtLimit::Close).watchdog(Duration::from_millis(50));
    let builder = builder.alarm(Alarm::new("busy", 2)).observer(Metrics::new());
    let pool = builder.listen(transport).await.unwrap();
    director.accept_fails(libc::EMFILE);
    eventually(|| director.left() == 0).await;
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
    eventually(|| Page::now().values("acceptor_connections_closed_total", "all").len() == 1).await;
    let page = Page::now();
    let values = |name: &str| page.values(name, "all");
    assert_eq!(values("acceptor_connections"), only(at, 1.0));
    assert_eq!(values("acceptor_connections_started_total"), only(at, 2.0));
    assert_eq!(values("acceptor_connections_closed_total"), only("listener=all reason=error", 1.0));
    assert_eq!(values("acceptor_refused_total"), only("listener=all reason=limit", 1.0));
    assert_eq!(values("acceptor_connection_duration_seconds_count"), only(at, 1.0));
    assert!(values("acceptor_connection_duration_seconds_sum")[at] < PATIENCE.as_secs_f64());
    // What the one that is alive has sent is counted when it ends.
    assert_eq!(values("acceptor_received_bytes_total"), only(at, 15.0));
    assert_eq!(values("acceptor_sent_bytes_total"), only(at, 10.0));
    assert_eq!(values("acceptor_packets_total"), only(at, 3.0));
    assert_eq!(values("acceptor_accept_errors_total"), only(at, 1.0));
    assert_eq!(values("acceptor_acceptors"), only("", 1.0));
    assert_eq!(values("acceptor_acceptors_stopped_total"), BTreeMap::new());
    assert_eq!(values("acceptor_blocked_total"), only("", 1.0));
    assert_eq!(values("acceptor_alarms_total"), only("name=busy", 1.0));

    soon(pool.stop(None)).await;
    let page = Page::now();
    let values = |name: &str| page.values(name, "all");
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
    assert_eq!(table.len(), 13, "{table:?}");
    let kinds = page.kinds.iter().filter(|(name, _)| name.starts_with("acceptor_"));
    // Without buckets of its own a histogram is a summary to Prometheus.
    let kinds: BTreeMap<_, _> =
        kinds.map(|(name, kind)| (name.clone(), kind.replace("summary", "histogram"))).collect();
    let promised: BTreeMap<_, _> = table.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    assert_eq!(kinds, promised);
    for sample in page.samples.iter().filter(|sample| sample.labels.get("pool").is_some_and(|pool| pool == "all")) {
        let name = sample.name.trim_end_matches("_sum").trim_end_matches("_count");
        let (_, promised) = table.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        let labels: BTreeSet<_> = sample.labels.keys().filter(|label| *label != "quantile").cloned().collect();
        assert_eq!(labels, *promised, "{name}");
    }
    for name in table.keys() {
        assert!(recorder().render().contains(&format!("# HELP {name} ")), "{name} is described");
    }
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
    soon(pool.stop(None)).await;
    let (page, at) = (Page::now(), "listener=churn");
    let value = |name: &str| page.values(name, "churn").values().sum::<f64>();
    assert_eq!((value("acceptor_connections"), value("acceptor_acceptors")), (0.0, 0.0));
    assert_eq!(page.values("acceptor_connections_started_total", "churn"), only(at, 200.0));
    assert_eq!(page.values("acceptor_connections_closed_total", "churn"), only("listener=churn reason=peer", 200.0));
    assert_eq!(value("acceptor_connection_duration_seconds_count"), 200.0);
    assert_eq!((value("acceptor_received_bytes_total"), value("acceptor_sent_bytes_total")), (1000.0, 1000.0));
    assert_eq!((value("acceptor_packets_total"), value("acceptor_acceptors_stopped_total")), (200.0, 3.0));
}

/// The example as a process; ended with its value.
struct Example {
    child: Child,
    echo: SocketAddr,
    page: String,
}

impl Example {
    fn start() -> Example {
        // target/PROFILE/deps/metrics-HASH: the examples are built beside it.
        let here = std::env::current_exe().unwrap();
        let program = here.parent().unwrap().with_file_name("examples").join("metrics");
        let mut command = Command::new(&program);
        command.args(["127.0.0.1:0", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}; build the examples"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (echo, page) = line.trim().strip_prefix("echo on ").unwrap().split_once(", metrics on ").unwrap();
        Example { child, echo: echo.parse().unwrap(), page: page.to_owned() }
    }

    /// The page, fetched as the example says.
    fn fetch(&self) -> Page {
        let curl = Command::new("curl").args(["-sS", "--fail", "--max-time", "10", &self.page]).output();
        // Not everybody has it.
        let fetched = curl.unwrap_or_else(|_| {
            let read = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())";
            Command::new("python3").args(["-c", read, &self.page]).output().unwrap()
        });
        assert!(fetched.status.success(), "{fetched:?}");
        Page::of(std::str::from_utf8(&fetched.stdout).unwrap())
    }

    fn end(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix::test]
async fn curl_reads_the_metrics_example() {
    let mut example = Example::start();
    let mut stays = BlockingPeer::connect(example.echo);
    stays.echo("hello\n");
    for _ in 0..3 {
        BlockingPeer::connect(example.echo).echo("hi\n");
    }
    eventually(|| example.fetch().values("acceptor_packets_total", "echo") == only("listener=echo", 3.0)).await;
    let page = example.fetch();
    assert_eq!(page.values("acceptor_connections", "echo"), only("listener=echo", 1.0));
    assert_eq!(page.values("acceptor_connections_started_total", "echo"), only("listener=echo", 4.0));
    assert_eq!(page.values("acceptor_received_bytes_total", "echo"), only("listener=echo", 9.0));
    assert_eq!(page.values("acceptor_connections_closed_total", "echo"), only("listener=echo reason=peer", 3.0));
    example.end();
    eventually(|| example.child.try_wait().unwrap().is_some()).await;
    assert!(example.child.wait().unwrap().success());
}
