//! The example `metrics`, with curl as its client.

use rustix::process::Signal;
use support::prometheus::{only, Page};
use support::*;

use super::example::Example;

/// The page, fetched as the example says.
fn fetch(page: &str) -> Page {
    let fetched = program("curl").args(["-sS", "--fail", "--max-time", "10", page]).output().unwrap();
    assert!(fetched.status.success(), "{fetched:?}");
    Page::of(std::str::from_utf8(&fetched.stdout).unwrap())
}

#[actix::test]
async fn curl_reads_the_metrics_example() {
    let mut example = Example::start("metrics", &["127.0.0.1:0", "127.0.0.1:0"]);
    let line = example.line();
    let (echo, page) = line.strip_prefix("echo on ").unwrap().split_once(", metrics on ").unwrap();
    let echo = echo.parse().unwrap();
    let mut stays = BlockingPeer::connect(echo);
    stays.echo("hello\n");
    for _ in 0..3 {
        BlockingPeer::connect(echo).echo("hi\n");
    }
    eventually(|| fetch(page).values("acceptor_packets_total", "echo") == only("listener=echo", 4.0)).await;
    let page = fetch(page);
    assert_eq!(page.values("acceptor_connections", "echo"), only("listener=echo", 1.0));
    assert_eq!(page.values("acceptor_connections_started_total", "echo"), only("listener=echo", 4.0));
    assert_eq!(page.values("acceptor_received_bytes_total", "echo"), only("listener=echo", 15.0));
    let closed = page.values("acceptor_connections_closed_total", "echo");
    assert_eq!((closed["listener=echo reason=peer"], closed["listener=echo reason=panic"]), (3.0, 0.0));
    assert_eq!(page.values("acceptor_ready", "echo"), only("", 1.0));
    example.signal(Signal::TERM);
    eventually(|| example.child.try_wait().unwrap().is_some()).await;
    assert!(example.child.wait().unwrap().success());
}
