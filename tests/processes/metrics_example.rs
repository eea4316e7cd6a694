//! The example `metrics`, with curl as its client.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use support::prometheus::{only, Page};
use support::*;

/// The example as a process; ended with its value.
struct Example {
    child: Child,
    echo: SocketAddr,
    page: String,
}

impl Example {
    fn start() -> Example {
        // target/PROFILE/deps/processes-HASH: the examples are built beside it.
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
        let fetched = program("curl").args(["-sS", "--fail", "--max-time", "10", &self.page]).output().unwrap();
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
