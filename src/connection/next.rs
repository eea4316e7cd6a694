//! [`Next`], the return value of every callback.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{PendingWait, Protocol};
use crate::detached::Detached;
use crate::error::BoxError;
use crate::handshake::Handshake;
use crate::net::FileRange;

/// What the connection does next: the return value of every callback.
///
/// The variants follow gen_server's `{noreply, S}`, `{reply, R, S}` and `{stop, Reason, S}`, and condor's
/// `{send, P, S}` and `{send_and_stop, P, R, S}`. The state is not returned: it is the protocol's `self`.
#[non_exhaustive]
#[must_use = "a callback's answer does nothing unless it is returned"]
pub enum Next<P: Protocol> {
    /// Keeps the connection open.
    Continue,
    /// Sends a reply and keeps the connection open. A reply that cannot be encoded ends the connection with
    /// [`Closed::Error`]. To handle the error instead, use [`Conn::send`]. [`Next::send`] converts its argument.
    ///
    /// [`Closed::Error`]: crate::Closed::Error
    /// [`Conn::send`]: crate::Conn::send
    Send(P::Reply),
    /// Sends replies in order and keeps the connection open. Made by [`Next::send_all`].
    SendAll(Box<[P::Reply]>),
    /// Ends the connection after the queued bytes are sent.
    Stop,
    /// Sends a reply, then ends the connection.
    SendAndStop(P::Reply),
    /// Ends the connection at once, with a reset (RST) on the wire: unsent bytes are lost, and the peer's reads fail with
    /// [`ConnectionReset`](std::io::ErrorKind::ConnectionReset). The connection counts as
    /// [`Closed::Local`](crate::Closed::Local). TLS over TCP is reset as well; other transports end without a reset.
    Reset,
    /// Takes the connection out of the pool and passes its stream to the closure. Created by [`Next::detach`].
    Detach(Box<dyn FnOnce(Detached)>),
    /// Ends the connection with a reason of your own. Made by [`Next::stop_because`].
    StopBecause(Cow<'static, str>),
    /// Ends the connection with [`Closed::Error`](crate::Closed::Error) after the queued bytes are sent.
    Fail(BoxError),
    /// Waits for a future. Made by [`Conn::wait`], [`Conn::wait_with`] and [`Conn::blocking`]. Until the wait ends, the
    /// connection handles no packets, and no messages unless [`Wait::with_messages`](crate::Wait::with_messages) is set.
    ///
    /// [`Conn::wait`]: crate::Conn::wait
    /// [`Conn::wait_with`]: crate::Conn::wait_with
    /// [`Conn::blocking`]: crate::Conn::blocking
    Wait(PendingWait<P>),
    /// Runs a handshake on the open connection, for example STARTTLS. Made by [`Next::upgrade`].
    Upgrade(Box<Arc<dyn Handshake>>),
    /// Sends a file and keeps the connection open. Made by [`Next::file`].
    File(Box<FileRange>),
}

impl<P: Protocol> Next<P> {
    /// Returns [`Next::Send`] with anything that converts to a reply.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # struct Greeter;
    /// # impl Protocol for Greeter {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, name: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///     match std::str::from_utf8(&name) {
    ///         Ok(name) => Next::send(format!("hello, {name}")),
    ///         Err(_) => Next::send("a name is text"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn send(reply: impl Into<P::Reply>) -> Self {
        Next::Send(reply.into())
    }

    /// [`Next::SendAndStop`] with a conversion to the type of the replies.
    pub fn send_and_stop(reply: impl Into<P::Reply>) -> Self {
        Next::SendAndStop(reply.into())
    }

    /// Sends replies in order and keeps the connection open. Without replies, this is the same as [`Next::Continue`].
    ///
    /// A reply that cannot be encoded ends the connection with [`Closed::Error`](crate::Closed::Error), as with
    /// [`Next::Send`]: the replies before it are sent, those after it are not. All replies of one call are queued, even if
    /// they exceed the high-water mark.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # struct Words;
    /// # impl Protocol for Words {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, line: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///     Next::send_all(line.split(|byte| *byte == b' ').map(<[u8]>::to_vec))
    /// }
    /// # }
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::AcceptorPool;
    /// # let pool = AcceptorPool::with_protocol(|_| Words).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"to be or not\n").await?;
    /// # let mut received = [0; 13];
    /// # peer.read_exact(&mut received).await?;
    /// // The peer sends "to be or not", and receives:
    /// assert_eq!(&received, b"to\nbe\nor\nnot\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn send_all(replies: impl IntoIterator<Item = impl Into<P::Reply>>) -> Self {
        Next::SendAll(replies.into_iter().map(Into::into).collect())
    }

    /// Ends the connection after the queued bytes are sent, with a reason of your own, as gen_server's `{stop, Reason, State}`.
    ///
    /// [`Protocol::closed`] receives it in [`Closed::Local`], whichever callback it came from, and the log line has it as
    /// `detail`. The connection counts as [`CloseReason::Local`](crate::telemetry::CloseReason::Local), also during a drain. To
    /// send a last reply, call [`Conn::push`] before. For an error, use [`Next::fail`].
    ///
    /// [`Closed::Local`]: crate::Closed::Local
    /// [`Conn::push`]: crate::Conn::push
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Closed, Conn, ConnectionInfo, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use tokio::io::AsyncWriteExt;
    /// # use tokio::sync::mpsc;
    /// # struct Shell(mpsc::UnboundedSender<String>);
    /// # impl Protocol for Shell {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     if line == "quit" {
    ///         conn.push("bye");
    ///         return Next::stop_because("quit");
    ///     }
    ///     Next::Send(line)
    /// }
    ///
    /// fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
    ///     if let Closed::Local(Some(reason)) = why {
    ///         println!("ended by {reason}");
    /// #       self.0.send(reason.to_string()).expect("the test waits");
    ///     }
    /// }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// # let (sender, mut reasons) = mpsc::unbounded_channel();
    /// # let pool = AcceptorPool::with_protocol(move |_| Shell(sender.clone())).framing(Framing::lines());
    /// # let pool = pool.bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"quit\n").await?;
    /// # assert_eq!(reasons.recv().await.as_deref(), Some("quit"));
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn stop_because(reason: impl Into<Cow<'static, str>>) -> Self {
        Next::StopBecause(reason.into())
    }

    /// Returns [`Next::Fail`] with any error, or a message as a string.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # struct Strict;
    /// # impl Protocol for Strict {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///     match std::str::from_utf8(&packet) {
    ///         Ok(_) => Next::Send(packet),
    ///         Err(error) => Next::fail(error),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn fail(error: impl Into<BoxError>) -> Self {
        Next::Fail(error.into())
    }

    /// Upgrades a plain connection to TLS (STARTTLS), or runs any other handshake.
    ///
    /// The queued bytes are sent in plaintext first. After the handshake, packets arrive encrypted through the same
    /// callbacks, and [`Conn::tls`](crate::Conn::tls) returns the details.
    ///
    /// If [`Protocol::init`], or a wait that it returned, returns the upgrade, the handshake runs after those of the listener
    /// and within the same time limit. Bytes that `init` queued are then sent after the handshake.
    ///
    /// Plaintext that the peer sent after the request for TLS ends the connection with
    /// [`HandshakeError::PlaintextAfterStartTls`](crate::transport::HandshakeError::PlaintextAfterStartTls): a
    /// man in the middle could have injected it to be read as if it were encrypted
    /// ([CVE-2011-0411](https://nvd.nist.gov/vuln/detail/CVE-2011-0411)).
    pub fn upgrade(handshake: impl Handshake) -> Self {
        Next::Upgrade(Box::new(Arc::new(handshake)))
    }

    /// Sends a file, or a range of one, as [`Conn::send_file`](crate::Conn::send_file) does, and keeps the connection open.
    pub fn file(file: FileRange) -> Self {
        Next::File(Box::new(file))
    }
}

impl<P: Protocol> fmt::Debug for Next<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Next::Continue => f.write_str("Continue"),
            Next::Send(_) => f.write_str("Send(..)"),
            Next::SendAll(replies) => write!(f, "SendAll({} replies)", replies.len()),
            Next::Stop => f.write_str("Stop"),
            Next::Reset => f.write_str("Reset"),
            Next::Detach(_) => f.write_str("Detach(..)"),
            Next::StopBecause(reason) => f.debug_tuple("StopBecause").field(reason).finish(),
            Next::SendAndStop(_) => f.write_str("SendAndStop(..)"),
            Next::Fail(error) => f.debug_tuple("Fail").field(error).finish(),
            Next::Wait(_) => f.write_str("Wait(..)"),
            Next::Upgrade(_) => f.write_str("Upgrade(..)"),
            Next::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}
