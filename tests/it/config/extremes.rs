//! Extreme values of every setting: an error at the start, or a pool that serves; never a panic.

use std::time::Duration;

use actix_acceptor::handlers::ProtocolService;
use actix_acceptor::limits::{AtLimit, AtRate, OverRate, SlowConsumer};
use actix_acceptor::telemetry::{Alarm, CloseReason};
use actix_acceptor::transport::Keepalive;
use actix_acceptor::{AcceptorPool, Active, Builder, Drain, Framing, Listener, StartError};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Echoes = Builder<ProtocolService<Echo>>;
type Change = Box<dyn Fn(Echoes) -> Echoes>;

const TIMES: [Duration; 4] =
    [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX / 1000), Duration::MAX];
const SIZES: [usize; 5] = [0, 1, u32::MAX as usize, usize::MAX - 1, usize::MAX];
const COUNTS: [u32; 3] = [0, 1, u32::MAX];

/// Starts a pool, serves one peer if it can, and drains it.
async fn serve(name: &str, builder: Echoes) {
    let listener = || Listener::tcp("127.0.0.1:0");
    let pool = match in_time(builder.listener(listener()).start()).await {
        Ok(pool) => pool,
        Err(StartError::InvalidSetting(_) | StartError::Several(_) | StartError::AcceptorTimeout { .. }) => return,
        // The system has its own limits.
        Err(StartError::SystemError { .. } | StartError::ListenerTimeout { .. }) => return,
        Err(other) => panic!("{name}: {other}"),
    };
    let mut peer = TcpStream::connect(pool.local_addr().unwrap()).await.unwrap();
    let _ = peer.write_all(b"hello\n").await;
    // With some values, the peer is closed at once, or never served.
    let _ = tokio::time::timeout(Duration::from_millis(20), peer.read(&mut [0; 6])).await;
    in_time(pool.drain(Drain::grace(Duration::ZERO))).await;
    let info = pool.info();
    assert_eq!(info.closed.get(CloseReason::Panic), 0, "{name}");
    assert_eq!(info.acceptors.iter().map(|acceptor| acceptor.restarts).sum::<u64>(), 0, "{name}");
    pool.stopped().await.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn echo() -> Echoes {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).acceptors(1)
}

async fn all_serve(changes: Vec<(&str, Change)>) {
    for (name, change) in changes {
        serve(name, change(echo())).await;
    }
}

macro_rules! change {
    ($changes:ident, $values:expr, $setting:literal, $change:expr) => {
        for value in $values {
            $changes.push(($setting, Box::new(move |builder: Echoes| $change(builder, value)) as Change));
        }
    };
}

#[actix::test]
async fn no_extreme_time_panics() {
    let mut all: Vec<(&str, Change)> = Vec::new();
    change!(all, TIMES, "max_restarts", |builder: Echoes, time| builder.max_restarts(1, time));
    change!(all, TIMES, "grace", |builder: Echoes, time| builder.grace(time));
    change!(all, TIMES, "start_timeout", |builder: Echoes, time| builder.start_timeout(time));
    change!(all, TIMES, "handshake_timeout", |builder: Echoes, time| builder.handshake_timeout(time));
    change!(all, TIMES, "idle_timeout", |builder: Echoes, time| builder.idle_timeout(time));
    change!(all, TIMES, "packet_timeout", |builder: Echoes, time| builder.packet_timeout(time));
    change!(all, TIMES, "send_timeout", |builder: Echoes, time| builder.send_timeout(time));
    change!(all, TIMES, "max_age", |builder: Echoes, time| builder.max_age(time));
    change!(all, TIMES, "max_age_jitter", |builder: Echoes, time| builder.max_age(time).max_age_jitter(time));
    change!(all, TIMES, "watchdog", |builder: Echoes, time| builder.watchdog(time));
    change!(all, TIMES, "at_limit", |builder: Echoes, time| builder.max_connections(1).at_limit(AtLimit::Hold(time)));
    change!(all, TIMES, "at_rate", |builder: Echoes, time| builder.at_rate(AtRate::Hold(time)).accept_rate(1, time));
    change!(all, TIMES, "cool_down", |builder: Echoes, time| builder.alarm(Alarm::new("one", 1).cool_down(time)));
    change!(all, TIMES, "keepalive", |builder: Echoes, time| {
        builder.listener(Listener::tcp("127.0.0.1:0").keepalive(Keepalive::time(time).interval(time)))
    });
    for burst in COUNTS {
        change!(all, TIMES, "accept_rate", |builder: Echoes, time| builder.accept_rate(burst, time));
        change!(all, TIMES, "peer_rate", |builder: Echoes, time| builder.peer_rate(burst, time));
        change!(all, TIMES, "packet_rate", |builder: Echoes, time| builder.packet_rate(burst, time, OverRate::Slow));
    }
    all_serve(all).await;
}

#[actix::test]
async fn no_extreme_size_panics() {
    let mut all: Vec<(&str, Change)> = Vec::new();
    // Not `usize::MAX / 2` acceptors: the limit of threads is the system's.
    change!(all, [0, usize::MAX], "acceptors", |builder: Echoes, size| builder.acceptors(size));
    change!(all, SIZES, "max_restarts", |builder: Echoes, size| builder.max_restarts(size, Duration::MAX));
    change!(all, SIZES, "max_handshakes", |builder: Echoes, size| builder.max_handshakes(size));
    change!(all, SIZES, "high watermark", |builder: Echoes, size| builder.watermarks(size, 0));
    change!(all, SIZES, "low watermark", |builder: Echoes, size| builder.watermarks(size, size));
    change!(all, SIZES, "max_read_buffer", |builder: Echoes, size| builder.max_read_buffer(size));
    change!(all, SIZES, "mailbox_capacity", |builder: Echoes, size| builder.mailbox_capacity(size));
    change!(all, SIZES, "max_blocking", |builder: Echoes, size| builder.max_blocking(size));
    change!(all, SIZES, "max_connections", |builder: Echoes, size| builder.max_connections(size));
    change!(all, SIZES, "max_per_peer", |builder: Echoes, size| builder.max_per_peer(size));
    change!(all, SIZES, "outbox", |builder: Echoes, size| builder.outbox(size, SlowConsumer::DropNewest));
    change!(all, SIZES, "max_frame", |builder: Echoes, size| builder.max_frame(size));
    change!(all, SIZES, "framing", |builder: Echoes, size| builder.framing(Framing::len8().with_max_frame(size)));
    change!(all, SIZES, "alarm", |builder: Echoes, size| builder.alarm(Alarm::new("extreme", size).low(size)));
    change!(all, COUNTS, "active", |builder: Echoes, count| builder.active(Active::Count(count)));
    change!(all, [0, 1, 32, 33, 64, 128, 129, 255], "peer_prefix", |builder: Echoes, bits| {
        builder.peer_prefix(bits, bits).max_per_peer(1)
    });
    change!(all, SIZES, "buffers", |builder: Echoes, size| {
        builder.listener(Listener::tcp("127.0.0.1:0").send_buffer(size).receive_buffer(size).max_connections(size))
    });
    change!(all, COUNTS, "backlog", |builder: Echoes, count| {
        let keepalive = Keepalive::time(Duration::from_secs(1)).retries(count);
        builder.listener(Listener::tcp("127.0.0.1:0").backlog(count).keepalive(keepalive))
    });
    all_serve(all).await;
}

#[actix::test]
async fn no_extreme_drain_or_change_panics() {
    for time in TIMES {
        let pool = echo().bind("127.0.0.1:0").await.unwrap();
        let changed = pool.change(move |settings| {
            settings.grace = Some(time);
            settings.restart_window = time;
            settings.idle_timeout = Some(time);
        });
        changed.await.unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        let longer = pool.clone();
        let drain = actix_rt::spawn(async move { longer.drain(Drain::grace(time).delay(time)).await });
        tokio::task::yield_now().await;
        in_time(pool.drain(Drain::immediate())).await;
        in_time(drain).await.unwrap();
        in_time(pool.stopped()).await.unwrap();
    }
}
