//! A fan-out written with this library: each connection is a protocol, and the topic is one of the pool.

use std::io::{self, Write};
use std::net::SocketAddr;

use actix_acceptor::{limits::SlowConsumer, AcceptorPool, Conn, Framing, Next, Protocol};
use bytes::Bytes;

use crate::process;

/// The settings of a server with a topic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One arbiter, default settings.
    Plain,
    /// The same, and lines for a member whose outbox is full are left out.
    Dropping,
    /// Four arbiters. Standard input makes another thread publish.
    Arbiters,
}

/// It understands [`Dialect::Verbs`](crate::members::Dialect::Verbs).
struct Member;

impl Protocol for Member {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match line.first() {
            Some(b'j') => {
                let topic = conn.pool().topic(String::from_utf8_lossy(&line[1..]));
                conn.join(&topic);
                Next::Send(Bytes::from_static(b"joined"))
            }
            Some(b'p') => {
                conn.pool().topic("").publish(line);
                Next::Continue
            }
            Some(b'a') => {
                let published = conn.pool().topic("").publish(line);
                Next::Send(format!("ok {} {}", published.members, published.dropped).into())
            }
            _ => Next::Send(line),
        }
    }
}

/// Serves until the process ends. Calls `announce` with the address. The calling thread stays idle.
pub(crate) async fn serve(form: Form, announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    // Members send nothing after they have joined.
    let server = AcceptorPool::with_protocol(|_| Member).framing(Framing::lines()).idle_timeout(None);
    // Lowered to what the descriptor limit allows.
    let server = server.acceptors(if form == Form::Arbiters { ARBITERS } else { 1 }).max_connections(1_000_000);
    let server = match form {
        Form::Dropping => server.outbox(1024 * 1024, SlowConsumer::DropNewest),
        _ => server,
    };
    if form == Form::Arbiters {
        process::unpin();
    }
    let pool = server.bind("127.0.0.1:0").await.map_err(io::Error::other)?;
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    if form == Form::Arbiters {
        let topic = pool.topic("");
        std::thread::spawn(move || {
            for _ in io::stdin().lines().map_while(Result::ok) {
                topic.publish(Bytes::from_static(&[b'.'; 63]));
                println!("{ARBITERS}");
                let _ = io::stdout().flush();
            }
            std::process::exit(0)
        });
    }
    std::future::pending().await
}

const ARBITERS: usize = 4;
