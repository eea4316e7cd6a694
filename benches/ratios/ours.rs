//! The library as a server: the shortest program that echoes.

use std::io;
use std::net::SocketAddr;

use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
use bytes::Bytes;

use crate::servers::Wire;

struct Echo;

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

/// Serves on one arbiter until the process ends; `announce` is told where. The thread that calls it idles.
pub(crate) async fn serve(wire: Wire, announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let framing = match wire {
        Wire::Raw => Framing::raw(),
        Wire::Packets => Framing::len2(),
    };
    let pool = AcceptorPool::protocol(|_| Echo)
        .framing(framing)
        .acceptors(1)
        .bind("127.0.0.1:0")
        .await
        .map_err(io::Error::other)?;
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    std::future::pending().await
}
