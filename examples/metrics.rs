//! A pool that counts with the `metrics` facade, and a second pool that serves the numbers to Prometheus. Try it:
//!
//! ```text
//! cargo run -p actix-acceptor-examples --example metrics
//! echo hello | nc -q1 127.0.0.1 7878
//! curl http://127.0.0.1:7879/metrics
//! ```
//!
//! Two optional arguments replace the addresses. The package `actix-acceptor-examples` has the dependencies that only
//! this example needs.

use actix_acceptor::{telemetry::Metrics, AcceptorPool, Conn, Drain, Framing, MainError, Next, Protocol, Socket};
use bytes::Bytes;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

struct Echo;

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

/// The minimum of HTTP that `curl` and Prometheus need.
async fn page(socket: Socket, text: String) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    while socket.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n", text.len());
    socket.write_all((head + &text).as_bytes()).await
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let mut addresses = std::env::args().skip(1);
    let echo_address = addresses.next().unwrap_or_else(|| "127.0.0.1:7878".to_owned());
    let page_address = addresses.next().unwrap_or_else(|| "127.0.0.1:7879".to_owned());
    // In seconds. Without buckets, the durations would be a summary.
    let buckets = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0];
    let durations = Matcher::Full("acceptor_connection_duration_seconds".to_owned());
    let recorder = PrometheusBuilder::new().set_buckets_for_metric(durations, &buckets)?.install_recorder()?;
    // Between two scrapes, the recorder keeps what it has been given until this call.
    let upkeep = recorder.clone();
    actix::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_secs(5));
        loop {
            interval.tick().await;
            upkeep.run_upkeep();
        }
    });
    let echo = AcceptorPool::with_protocol(|_| Echo)
        .framing(Framing::lines())
        .name("echo")
        .observer(Metrics::new())
        .bind(echo_address)
        .await?;
    let pages =
        AcceptorPool::with_fn(move |socket| page(socket, recorder.render())).acceptors(1).bind(page_address).await?;
    println!("echo on {}, metrics on http://{}/metrics", echo.local_addrs()[0], pages.name());
    echo.drain_on_signal(Drain::grace(Duration::from_secs(5))).await?;
    Ok(echo.stopped().await?)
}
