//! The same for a `Socket`, whose timeouts take effect in its reads and writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_acceptor::telemetry::CloseReason::{self, Idle, Killed, Local, MaxAge, SendTimeout};
use actix_acceptor::transport::{
    Address, FileRange, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Memory, Stream,
};
use actix_acceptor::{AcceptorPool, Listener, Socket};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cell::{OneByte, LARGE};

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Handshaking,
    Reading,
    Writing,
    SendingFile,
    /// The fn neither reads nor writes.
    Elsewhere,
    Upgrading,
    /// Dropped; the stream does not finish its shutdown.
    Dropped,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    Handshake,
    Idle,
    Send,
    MaxAge,
    Drain,
    /// `PoolHandle::close`, with a grace period.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Lives,
    Ends(CloseReason, u64),
}
use Expected::{Ends, Lives};

const LIMITS: [Limit; 6] = [Limit::Handshake, Limit::Idle, Limit::Send, Limit::MaxAge, Limit::Drain, Limit::Close];
const LIMIT: Duration = Duration::from_secs(1);

#[rustfmt::skip]
const TABLE: &[(State, [Expected; 6])] = &[
    //                   handshake                idle                 send                      age                   drain                 close
    (State::Handshaking, [Ends(CloseReason::Handshake, 1_000), Lives,               Lives,                    Ends(MaxAge, 1_000),  Ends(Killed, 1_000), Ends(Local, 0)]),
    (State::Reading,     [Lives,                  Ends(Idle, 1_000),   Lives,                    Ends(MaxAge, 1_000),  Ends(Killed, 1_000), Ends(Local, 1_000)]),
    (State::Writing,     [Lives,                  Lives,               Ends(SendTimeout, 1_000), Ends(MaxAge, 1_000),  Ends(Killed, 1_000), Ends(Local, 1_000)]),
    (State::SendingFile, [Lives,                  Lives,               Ends(SendTimeout, 1_000), Ends(MaxAge, 1_000),  Ends(Killed, 1_000), Ends(Local, 1_000)]),
    (State::Elsewhere,   [Lives,                  Lives,               Lives,                    Lives,                Ends(Killed, 1_100), Ends(Local, 1_100)]),
    (State::Upgrading,   [Ends(CloseReason::Handshake, 1_000), Lives,               Lives,                    Ends(MaxAge, 1_000),  Ends(Killed, 1_000), Ends(Local, 0)]),
    (State::Dropped,     [Ends(Local, 30_000),    Ends(Local, 30_000), Ends(Local, 30_000),      Ends(Local, 30_000),  Ends(Killed, 1_000), Ends(Local, 1_000)]),
];

#[test]
fn every_timeout_does_in_every_state_of_a_socket_what_is_said() {
    let failures = Arc::new(std::sync::Mutex::new(Vec::new()));
    for (state, row) in TABLE {
        for (limit, expected) in LIMITS.into_iter().zip(row) {
            let failures = failures.clone();
            paused(async move {
                if let Err(got) = walk(*state, limit, *expected).await {
                    failures.lock().unwrap().push(format!("{state:?} × {limit:?}: expected {expected:?}, got {got}"));
                }
            });
        }
    }
    let failures = failures.lock().unwrap();
    assert!(failures.is_empty(), "{} cells fail:\n{}", failures.len(), failures.join("\n"));
}

async fn walk(state: State, limit: Limit, expected: Expected) -> Result<(), String> {
    let folder = Folder::create();
    let path = folder.path("large");
    std::fs::File::create(&path).unwrap().set_len(LARGE as u64).unwrap();
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let serve = move |socket: Socket| serve(state, socket, path.clone(), released.clone());
    let builder = AcceptorPool::with_fn(serve).handshake_timeout(None).idle_timeout(None).send_timeout(None);
    let builder = match limit {
        Limit::Handshake => builder.handshake_timeout(LIMIT),
        Limit::Idle => builder.idle_timeout(LIMIT),
        Limit::Send => builder.send_timeout(LIMIT),
        Limit::MaxAge => builder.max_age(LIMIT),
        Limit::Drain | Limit::Close => builder,
    };
    let (memory, connector) = Memory::new("sockets");
    let listener = Listener::from_transport(memory);
    let listener = match state {
        State::Handshaking => listener.handshake(OneByte),
        State::Dropped => listener.handshake(StuckShutdown),
        _ => listener,
    };
    let pool = builder.listener(listener).start().await.unwrap();
    let mut peer = Peer(connector.connect().await.unwrap());
    in_time(pool.wait_for(|connections| connections == 1, None)).await.unwrap();
    let began = Instant::now();
    match limit {
        Limit::Drain => {
            let pool = pool.clone();
            actix_rt::spawn(async move { pool.stop(LIMIT).await });
        }
        Limit::Close => assert!(pool.untyped().close(pool.list()[0].id, None, LIMIT)),
        _ => {}
    }
    let ended = pool.wait_for(|connections| connections == 0, Duration::from_secs(3_600)).await.is_ok();
    let took = began.elapsed().as_millis() as u64;
    let closed = pool.info().closed;
    match expected {
        Ends(reason, at) if ended && closed.get(reason) == 1 && (at..=at + at / 10).contains(&took) => Ok(()),
        Lives if !ended => {
            go_on(state, limit, &mut peer, &release).await;
            in_time(pool.wait_for(|connections| connections == 0, None)).await.unwrap();
            let reason = if let (State::Elsewhere, Limit::MaxAge) = (state, limit) { MaxAge } else { Local };
            let closed = pool.info().closed;
            if closed.get(reason) == 1 {
                Ok(())
            } else {
                Err(format!("afterwards {closed:?}"))
            }
        }
        _ => Err(format!("ended: {ended}, {closed:?} after {took} ms")),
    }
}

/// Enters the state. Once it is left, the fn answers one byte, and ends.
async fn serve(state: State, mut socket: Socket, path: std::path::PathBuf, release: Arc<Notify>) -> io::Result<()> {
    match state {
        State::Dropped => return Ok(()),
        State::Handshaking | State::Reading => {}
        State::Writing => socket.write_all(&vec![0; LARGE]).await?,
        State::SendingFile => socket.send_file(FileRange::open(path)?).await?,
        State::Elsewhere => release.notified().await,
        State::Upgrading => socket = socket.upgrade(OneByte).await.map_err(io::Error::other)?,
    }
    let byte = socket.read_u8().await?;
    socket.write_all(&[byte]).await
}

async fn go_on(state: State, limit: Limit, peer: &mut Peer<tokio::io::DuplexStream>, release: &Notify) {
    match state {
        State::Handshaking | State::Upgrading => peer.send("x").await,
        State::Writing | State::SendingFile => drop(peer.read_exact(LARGE).await),
        State::Elsewhere => release.notify_one(),
        State::Reading | State::Dropped => {}
    }
    if let (State::Elsewhere, Limit::MaxAge) = (state, limit) {
        // The next read fails.
        return assert_eq!(peer.read_to_end().await, b"");
    }
    peer.echo("y").await;
}

/// Leaves a stream whose shutdown does not end.
struct StuckShutdown;

impl Handshake for StuckShutdown {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move { Ok(Handshaken::new(Stream::other(Stuck(stream)))) })
    }
}

struct Stuck(Stream);

impl AsyncRead for Stuck {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}
