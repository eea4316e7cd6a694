//! The servers written with this library.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService,
    limits::Rule,
    telemetry::{Alarm, Observer, PoolEvent, Spans},
    AcceptorPool, Builder, Conn, Framing, Listener, Next, Protocol,
};
use bytes::Bytes;

use crate::servers::Wire;

pub(crate) struct Echo;

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

/// The default settings.
pub(crate) fn plain(wire: Wire) -> Builder<ProtocolService<Echo>> {
    let framing = match wire {
        Wire::Raw => Framing::raw(),
        Wire::Packets => Framing::len2(),
    };
    AcceptorPool::with_protocol(|_| Echo).framing(framing)
}

/// Every limit, alarm and observer switched on. None of them refuses a connection.
pub(crate) fn all_on() -> Builder<ProtocolService<Echo>> {
    plain(Wire::Raw)
        .max_per_peer(1_000_000)
        .accept_rate(1_000_000_000, Duration::from_secs(1))
        .peer_rate(1_000_000_000, Duration::from_secs(1))
        .rules((0..16).flat_map(|block| Rule::deny(&format!("10.{block}.0.0/16"))))
        .overload(|newcomer| newcomer.connections > 1_000_000)
        .reserve_descriptor(true)
        .max_age(Duration::from_secs(3_600))
        .alarm(Alarm::new("many", 1_000_000).low(900_000))
        .observer(Count::default())
        .observer(Spans::new())
}

/// An observer that reads every event.
#[derive(Default)]
struct Count(AtomicU64);

impl Observer for Count {
    fn observe(&self, _: &str, happening: &PoolEvent<'_>) {
        if let PoolEvent::ConnectionStopped { bytes_in, .. } = happening {
            self.0.fetch_add(*bytes_in, Relaxed);
        }
    }
}

pub(crate) fn plaintext() -> Listener {
    Listener::tcp("127.0.0.1:0")
}

/// Serves on one arbiter until the process ends. Calls `announce` with the address. The calling thread stays idle.
pub(crate) async fn serve<P: Protocol>(
    server: Builder<ProtocolService<P>>,
    listener: Listener,
    announce: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<()> {
    // Lowered to what the descriptor limit allows.
    let server = server.acceptors(1).max_connections(1_000_000);
    let pool = server.listener(listener).start().await.map_err(io::Error::other)?;
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    std::future::pending().await
}
