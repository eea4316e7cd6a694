//! [`Client`], a scripted peer.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder};

use super::link::Link;
use super::report::{bytes_text, ended_text, fail};
use super::{settle, FramedClient};

/// How long a client waits for what it expects, unless [`Client::patience`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// The space for one read. What arrives together is then shown together.
const READ: usize = 16 * 1024;

/// A scripted peer, which sends bytes and expects to receive some.
///
/// Made by [`Harness::connect`](super::Harness::connect), or over any stream by [`Client::new`]. Each method panics if
/// something unexpected happens. The message names the line of the test, what was expected and what was received.
///
/// A client waits up to its [`patience`](Client::patience) for what it expects. On a paused clock this takes no time: the clock
/// jumps to the next timer once nothing else is left to do.
///
/// Dropping a client ends both directions of its connection.
///
/// ```
/// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
/// # use bytes::Bytes;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     type Codec = Framing; type Reply = Bytes; type User = ();
/// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
/// # }
/// # actix_rt::System::new().block_on(async {
/// use actix_acceptor::testing::Harness;
/// use std::time::Duration;
///
/// let harness = Harness::start(AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines())).await;
/// let mut client = harness.connect().await;
/// client.say("hel").await;
/// client.silence(Duration::from_secs(1)).await;
/// client.say("lo\n").await;
/// client.expect("hello\n").await;
/// // A FIN: the server answers what came before it, then ends the connection.
/// client.say("bye\n").await;
/// client.finish().await;
/// assert_eq!(client.end().await, "bye\n");
/// # });
/// ```
pub struct Client {
    /// Dropped before the link is marked.
    pub(super) stream: Option<Pin<Box<dyn Duplex>>>,
    link: Option<Arc<Link>>,
    pub(super) received: BytesMut,
    end: Option<End>,
    patience: Duration,
}

/// A stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

/// How the server has ended the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Orderly,
    Reset,
}

/// What a read has brought.
pub(super) enum Arrived {
    Bytes,
    End(End),
    /// Nothing, within the patience of the client.
    Nothing,
}

impl Client {
    /// Makes a client of a stream: a connection to a running server, or the client's side of a TLS connection over the stream
    /// of another client (a `Client` is a stream as well).
    ///
    /// On a clock that is not paused, its [`patience`](Client::patience) is real time.
    pub fn new(stream: impl AsyncRead + AsyncWrite + 'static) -> Client {
        Client { stream: Some(Box::pin(stream)), link: None, received: BytesMut::new(), end: None, patience: PATIENCE }
    }

    pub(super) fn linked(stream: DuplexStream, link: Arc<Link>) -> Client {
        let mut client = Client::new(stream);
        client.link = Some(link);
        client
    }

    /// Sets how long this client waits for what it expects.
    ///
    /// Default: 5 seconds.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Sends these bytes. Returns once the server has handled as much as it can without time passing.
    ///
    /// # Panics
    /// If the connection has ended, or if the server does not read within the [`patience`](Client::patience).
    #[track_caller]
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { self.send(bytes.as_ref(), caller).await }
    }

    pub(super) async fn send(&mut self, bytes: &[u8], caller: &Location<'_>) {
        let text = bytes_text(bytes);
        let patience = self.patience;
        let stream = self.stream(caller);
        let sent = timeout(patience, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => settle().await,
            Ok(Err(error)) => fail(caller, format_args!("could not say {text}: {error}")),
            Err(_) => {
                fail(caller, format_args!("could not say {text}: the server did not read it within {patience:?}"))
            }
        }
    }

    /// Expects exactly these bytes next. Bytes that follow them are kept.
    ///
    /// # Panics
    /// If other bytes arrive, the connection ends, or nothing arrives within the [`patience`](Client::patience).
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let expected = expected.as_ref();
            let text = bytes_text(expected);
            loop {
                let length = self.received.len().min(expected.len());
                if self.received[..length] != expected[..length] {
                    fail(caller, format_args!("expected {text}, but received {}", bytes_text(&self.received)));
                }
                if length == expected.len() {
                    drop(self.received.split_to(length));
                    return;
                }
                match self.read(caller).await {
                    Arrived::Bytes => {}
                    Arrived::End(end) => {
                        let ended = ended_text(end, &self.received);
                        fail(caller, format_args!("expected {text}, but {ended}"));
                    }
                    Arrived::Nothing => self.fail_late(&text, caller),
                }
            }
        }
    }

    /// Returns the bytes that arrive next: at least one byte.
    ///
    /// # Panics
    /// If the connection ends, or nothing arrives within the [`patience`](Client::patience).
    #[track_caller]
    pub fn receive(&mut self) -> impl Future<Output = Bytes> {
        let caller = Location::caller();
        async move {
            while self.received.is_empty() {
                match self.read(caller).await {
                    Arrived::Bytes => {}
                    Arrived::End(end) => fail(caller, format_args!("expected bytes, but {}", ended_text(end, &[]))),
                    Arrived::Nothing => self.fail_late("bytes", caller),
                }
            }
            self.received.split().freeze()
        }
    }

    /// Expects that nothing arrives during this time and that the connection stays open.
    ///
    /// # Panics
    /// If something arrives, or had arrived before and was not expected, or the connection ends.
    #[track_caller]
    pub fn silence(&mut self, span: Duration) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { self.stay_silent(span, caller).await }
    }

    pub(super) async fn stay_silent(&mut self, span: Duration, caller: &Location<'_>) {
        if !self.received.is_empty() {
            let received = bytes_text(&self.received);
            fail(caller, format_args!("expected silence for {span:?}, but had already received {received}"));
        }
        let began = tokio::time::Instant::now();
        match self.read_within(span, caller).await {
            Arrived::Nothing => {}
            Arrived::Bytes => {
                let (received, after) = (bytes_text(&self.received), began.elapsed());
                fail(caller, format_args!("expected silence for {span:?}, but received {received} after {after:?}"))
            }
            Arrived::End(end) => {
                let (ended, after) = (ended_text(end, &[]), began.elapsed());
                fail(caller, format_args!("expected silence for {span:?}, but after {after:?} {ended}"))
            }
        }
    }

    /// Expects the server to end the connection in order (FIN). Returns what arrived before and was not expected.
    ///
    /// # Panics
    /// If the server resets the connection, or has not ended it within the [`patience`](Client::patience).
    #[track_caller]
    pub fn end(&mut self) -> impl Future<Output = Bytes> {
        let caller = Location::caller();
        async move { self.read_to(End::Orderly, caller).await }
    }

    /// Expects the server to reset the connection, as with [`Next::Reset`](crate::Next::Reset). Returns what arrived before and
    /// was not expected. Only a client of a harness, or one over a TCP stream, can see a reset.
    ///
    /// # Panics
    /// If the server ends the connection in order, or has not reset it within the [`patience`](Client::patience).
    #[track_caller]
    pub fn end_by_reset(&mut self) -> impl Future<Output = Bytes> {
        let caller = Location::caller();
        async move { self.read_to(End::Reset, caller).await }
    }

    pub(super) async fn read_to(&mut self, expected: End, caller: &Location<'_>) -> Bytes {
        let wanted = if expected == End::Reset { "a reset" } else { "the end of the connection" };
        loop {
            match self.read(caller).await {
                Arrived::Bytes => {}
                Arrived::End(end) if end == expected => return self.received.split().freeze(),
                Arrived::End(end) => {
                    fail(caller, format_args!("expected {wanted}, but {}", ended_text(end, &self.received)))
                }
                Arrived::Nothing => {
                    let (received, patience) = (bytes_text(&self.received), self.patience);
                    let but = format!("it was still open after {patience:?}; received {received}");
                    fail(caller, format_args!("expected {wanted}, but {but}"));
                }
            }
        }
    }

    /// Ends the sending side (FIN) and goes on receiving. Returns once the server has handled it.
    ///
    /// # Panics
    /// If the connection has ended already.
    #[track_caller]
    pub fn finish(&mut self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.shut_down(caller).await;
            settle().await;
        }
    }

    pub(super) async fn shut_down(&mut self, caller: &Location<'_>) {
        if let Err(error) = self.stream(caller).shutdown().await {
            fail(caller, format_args!("could not finish: {error}"));
        }
        self.mark_finished();
    }

    /// Resets the connection (RST): the server's reads fail with `ConnectionReset` after what was sent before. Returns once the
    /// server has handled it.
    ///
    /// # Panics
    /// If this is not a client of a [`Harness`](super::Harness).
    #[track_caller]
    pub fn reset(mut self) -> impl Future<Output = ()> {
        self.reset_now(Location::caller());
        settle()
    }

    pub(super) fn reset_now(&mut self, caller: &Location<'_>) {
        match &self.link {
            Some(link) => link.reset_by_client.store(true, Relaxed),
            None => fail(caller, "only the clients of a harness can reset their connection"),
        }
        self.stream = None;
    }

    /// Reads what has arrived, without waiting.
    pub(super) fn drain(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        loop {
            self.received.reserve(READ);
            match stream.read_buf(&mut self.received).now_or_never() {
                Some(Ok(length)) if length > 0 => {}
                _ => return,
            }
        }
    }

    /// Sends and expects the items of a codec instead of bytes. Bytes that have already arrived are decoded first.
    ///
    /// The codec is the peer's: it encodes requests and decodes replies. If the codec is symmetric, as
    /// [`Framing`](crate::Framing) is, pass a clone of the server's.
    pub fn framed<C: Decoder<Error: fmt::Display>>(self, codec: C) -> FramedClient<C> {
        FramedClient::new(self, codec)
    }

    /// Encodes an item with a codec, and sends it.
    pub(super) async fn send_item<T, C: Encoder<T>>(&mut self, codec: &mut C, item: T, caller: &Location<'_>)
    where
        C::Error: fmt::Display,
    {
        let mut bytes = BytesMut::new();
        if let Err(error) = codec.encode(item, &mut bytes) {
            fail(caller, format_args!("the client's codec could not encode an item: {error}"));
        }
        self.send(&bytes, caller).await;
    }

    /// Reads, for as long as the client is patient.
    pub(super) async fn read(&mut self, caller: &Location<'_>) -> Arrived {
        self.read_within(self.patience, caller).await
    }

    async fn read_within(&mut self, limit: Duration, caller: &Location<'_>) -> Arrived {
        if let Some(end) = self.end {
            return Arrived::End(end);
        }
        let mut read = std::mem::take(&mut self.received);
        read.reserve(READ);
        let outcome = timeout(limit, self.stream(caller).read_buf(&mut read)).await;
        self.received = read;
        let end = match outcome {
            Err(_) => return Arrived::Nothing,
            Ok(Ok(length)) if length > 0 => return Arrived::Bytes,
            Ok(Ok(_)) if self.link.as_ref().is_some_and(|link| link.reset_by_pool.load(Relaxed)) => End::Reset,
            Ok(Ok(_)) => End::Orderly,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
            Ok(Err(error)) => fail(caller, format_args!("could not read: {error}")),
        };
        self.end = Some(end);
        Arrived::End(end)
    }

    /// Fails because what was expected has not arrived in time.
    pub(super) fn fail_late(&self, expected: &str, caller: &Location<'_>) -> ! {
        let patience = self.patience;
        let but = match &self.received[..] {
            [] => "nothing arrived".to_owned(),
            received => format!("only {} arrived", bytes_text(received)),
        };
        fail(caller, format_args!("expected {expected}, but {but} within {patience:?}"))
    }

    fn stream(&mut self, caller: &Location<'_>) -> &mut Pin<Box<dyn Duplex>> {
        match &mut self.stream {
            Some(stream) => stream,
            None => fail(caller, "the client has left"),
        }
    }

    pub(super) fn mark_finished(&self) {
        if let Some(link) = &self.link {
            link.client_finished.store(true, Relaxed);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.mark_finished();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("received", &self.received).finish_non_exhaustive()
    }
}
