//! Adoption: a pool serves streams that it did not accept.

use std::any::{Any, TypeId};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

use actix::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::{Pool, PoolState, Status, Untyped};
use crate::acceptor::{Acceptor, Adopt, MakeStream, NotAdopted};
use crate::detached::Detached;
use crate::net::{Address, Stream};
use crate::panic::Guarded;
use crate::telemetry::{ConnectionId, RefusalReason};

/// The error of [`Pool::adopt`]. The stream has been closed.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptError {
    /// A limit or rule refused the peer, which counts as accepted and refused.
    Refused(RefusalReason),
    /// The pool does not accept connections: it is suspended, draining or has ended, or all of its acceptors are being
    /// restarted.
    NotAccepting(Status),
    /// The socket cannot be moved to the arbiter that would serve it, or user code has panicked there; then the error has the
    /// message of the panic.
    Io(io::Error),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdoptError::Refused(reason) => write!(f, "the pool refuses the peer ({reason})"),
            AdoptError::NotAccepting(Status::Running) => f.write_str("no acceptor of the pool is running"),
            AdoptError::NotAccepting(status) => {
                let status = match status {
                    Status::Suspended(_) => "suspended",
                    Status::Draining => "draining",
                    _ => "not running",
                };
                write!(f, "the pool does not accept connections: it is {status}")
            }
            AdoptError::Io(_) => f.write_str("the stream cannot be served by an arbiter of the pool"),
        }
    }
}

impl Error for AdoptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            AdoptError::Io(error) => Some(error),
            AdoptError::Refused(_) | AdoptError::NotAccepting(_) => None,
        }
    }
}

impl<A: 'static> Pool<A> {
    /// Serves a stream that the pool has not accepted, as if one of its listeners had: for example a WebSocket that actix-web
    /// has accepted, a connection that the program has opened itself, or one that another pool has
    /// [detached](crate::Next::detach). Returns the id of the connection.
    ///
    /// `peer` is the address for limits, rules, logs and reports: a `SocketAddr`, or an [`Address::Other`] with any name. The
    /// connection counts for all limits of the pool, and is listed, drained and closed like others. The name of its listener
    /// is `adopted`. It has no [`env`](crate::Listener::env), and handshake
    /// steps of listeners, such as TLS, do not run. At the connection limit or above a rate, the stream
    /// is refused at once, whatever [`at_limit`](crate::Builder::at_limit) and [`at_rate`](crate::Builder::at_rate) are.
    ///
    /// Streams are distributed over the acceptors in turn; those with clearly more connections than others are passed over. A
    /// plain TCP or Unix socket (a `TcpStream` or `UnixStream` of tokio, or a [`Detached`] without TLS) is registered with the
    /// acceptor's arbiter. Any other stream stays with the runtime that it belongs to, which must keep running: a TLS stream that
    /// another pool has detached fails once that pool has stopped. For a stream that is not `Send`, such as the body of an actix-web request,
    /// adopt one half of a [`tokio::io::duplex`] and forward between the other half and the stream.
    ///
    /// The type of the handle selects the service: in a pool with [several protocols](crate::Listener::service), use
    /// [`typed`](Pool::typed). If several services have this type, that of the builder is used, or else that of the first
    /// listener. An [untyped](Pool::untyped) handle uses the service of the builder.
    ///
    /// If the returned future is dropped, the stream is either adopted or closed.
    ///
    /// # Errors
    /// See [`AdoptError`]. The stream is closed, after the [refusal message](crate::Builder::refusal_message) if a limit
    /// refused the peer.
    ///
    /// ```
    /// # use actix_acceptor::{transport::Address, AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Echo).bind("127.0.0.1:0").await?;
    ///
    /// let (mut peer, stream) = tokio::io::duplex(1024);
    /// let id = pool.adopt(stream, Address::Other("in-process".into())).await?;
    /// assert_eq!(pool.list()[0].id, id);
    ///
    /// peer.write_all(b"hello").await?;
    /// let mut echo = [0; 5];
    /// peer.read_exact(&mut echo).await?;
    /// assert_eq!(&echo, b"hello");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn adopt<T>(&self, stream: T, peer: impl Into<Address>) -> Result<ConnectionId, AdoptError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Guarded::new(Some(make_stream(stream)?));
        let status = self.status();
        let not_accepting = || AdoptError::NotAccepting(self.status());
        if status != Status::Running {
            return Err(not_accepting());
        }
        let actor = Some(TypeId::of::<A>()).filter(|actor| *actor != TypeId::of::<Untyped>());
        let service = self.shared.services().of_actor(actor).ok_or_else(not_accepting)?;
        let acceptor = self.shared.acceptor_for_adoption().ok_or_else(not_accepting)?;
        let (outcome, adopted) = oneshot::channel();
        // One message per call, whose future waits for the outcome.
        acceptor.do_send(Adopt { stream, peer: peer.into(), service, outcome });
        match adopted.await {
            Ok(adopted) => adopted.map_err(|error| match error {
                NotAdopted::Refused(reason) => AdoptError::Refused(reason),
                NotAdopted::Failed(error) => AdoptError::Io(error),
            }),
            // The acceptor has ended.
            Err(_) => Err(not_accepting()),
        }
    }
}

impl PoolState {
    /// The running acceptors take turns, except those that are [ahead](Registries::is_ahead) of others.
    fn acceptor_for_adoption(&self) -> Option<Addr<Acceptor>> {
        let slots = self.registries().slots_in_use();
        let running: Vec<_> = (0..slots).filter_map(|slot| Some((slot, self.acceptor(slot)?))).collect();
        let turn = self.adopted.fetch_add(1, Relaxed);
        let in_turn = running.iter().cycle().skip(turn % running.len().max(1)).take(running.len());
        let next = in_turn.clone().find(|(slot, _)| !self.registries().is_ahead(*slot)).or(in_turn.clone().next());
        next.map(|(_, address)| address.clone())
    }
}

/// Makes the stream on the arbiter that serves it. A plain socket leaves the runtime that it belongs to, and joins that of the
/// arbiter.
fn make_stream<T>(stream: T) -> Result<MakeStream, AdoptError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, unread) = into_stream(stream).split_put_back();
    let stream = match stream.into_tcp() {
        Ok(tcp) => {
            let tcp = tcp.into_std().map_err(AdoptError::Io)?;
            return Ok(Box::new(move || Ok(Stream::from(TcpStream::from_std(tcp)?).put_back(unread))));
        }
        Err(stream) => stream,
    };
    #[cfg(unix)]
    let stream = match stream.into_unix() {
        Ok(unix) => {
            let unix = unix.into_std().map_err(AdoptError::Io)?;
            return Ok(Box::new(move || Ok(Stream::from(UnixStream::from_std(unix)?).put_back(unread))));
        }
        Err(stream) => stream,
    };
    let stream = Guarded::new(Some(stream));
    Ok(Box::new(move || {
        let mut stream = stream;
        stream.take().map(|stream| stream.put_back(unread)).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }))
}

/// The stream itself, if its type is known.
fn into_stream<T>(stream: T) -> Stream
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = Some(stream);
    let any: &mut dyn Any = &mut stream;
    if let Some(tcp) = any.downcast_mut::<Option<TcpStream>>().and_then(Option::take) {
        return tcp.into();
    }
    #[cfg(unix)]
    if let Some(unix) = any.downcast_mut::<Option<UnixStream>>().and_then(Option::take) {
        return unix.into();
    }
    if let Some(detached) = any.downcast_mut::<Option<Detached>>().and_then(Option::take) {
        let (stream, unread) = detached.into_parts();
        return stream.put_back(unread);
    }
    if let Some(known) = any.downcast_mut::<Option<Stream>>().and_then(Option::take) {
        return known;
    }
    Stream::other(stream.expect("taken only if its type is known"))
}
