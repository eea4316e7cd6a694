//! [`Next`], the return value of every callback, and waits for futures and blocking closures.

use std::fmt;
use std::future::{pending, Future};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Conn, Protocol};
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
    /// [`Closed::Error`]. To handle the error instead, use [`Conn::send`].
    ///
    /// [`Closed::Error`]: crate::Closed::Error
    Send(P::Reply),
    /// Ends the connection after the queued bytes are sent.
    Stop,
    /// Sends a reply, then ends the connection.
    SendAndStop(P::Reply),
    /// Ends the connection with [`Closed::Error`](crate::Closed::Error) after the queued bytes are sent.
    Fail(BoxError),
    /// Waits for a future. Made by [`Conn::wait`] and [`Conn::blocking`]. Until the future completes, the connection
    /// handles neither packets nor messages.
    Wait(Wait<P>),
    /// Runs a handshake on the open connection, for example STARTTLS. Made by [`Next::upgrade`].
    Upgrade(Box<Arc<dyn Handshake>>),
    /// Sends a file and keeps the connection open. Made by [`Next::file`].
    File(Box<FileRange>),
}

impl<P: Protocol> Next<P> {
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
    /// Plaintext that the peer sent after the request for TLS ends the connection with
    /// [`HandshakeError::PlaintextAfterStartTls`](crate::transport::HandshakeError::PlaintextAfterStartTls): a
    /// man in the middle could have injected it to be read as if it were encrypted
    /// ([CVE-2011-0411](https://nvd.nist.gov/vuln/detail/CVE-2011-0411)).
    pub fn upgrade(handshake: impl Handshake) -> Self {
        Next::Upgrade(Box::new(Arc::new(handshake)))
    }

    /// Sends a file, or a range of one, and keeps the connection open. As [`Conn::send_file`].
    pub fn file(file: FileRange) -> Self {
        Next::File(Box::new(file))
    }
}

impl<P: Protocol> fmt::Debug for Next<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Next::Continue => f.write_str("Continue"),
            Next::Send(_) => f.write_str("Send(..)"),
            Next::Stop => f.write_str("Stop"),
            Next::SendAndStop(_) => f.write_str("SendAndStop(..)"),
            Next::Fail(error) => f.debug_tuple("Fail").field(error).finish(),
            Next::Wait(_) => f.write_str("Wait(..)"),
            Next::Upgrade(_) => f.write_str("Upgrade(..)"),
            Next::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}

/// A future that a connection waits for, and the closure that handles its output. Made by [`Conn::wait`] and
/// [`Conn::blocking`].
pub struct Wait<P: Protocol>(pub(crate) Pending<P>);

impl<P: Protocol> fmt::Debug for Wait<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// Calls the user's closure with the output of the future, which it has captured.
pub(crate) type Then<P> = Box<dyn FnOnce(&mut P, &mut Conn<P>) -> Next<P>>;
pub(crate) type Pending<P> = Pin<Box<dyn Future<Output = Then<P>>>>;

impl<P: Protocol> Conn<P> {
    /// Waits for a future, then calls `then` with its output.
    ///
    /// The thread is not blocked, so other connections keep running. This connection handles neither packets nor
    /// messages until the future completes. Packets stay queued in their order, and so do messages. A sender that
    /// awaits the result of a message waits as well, so give such requests a time limit. [`Protocol::shutdown`] is
    /// called after the wait. The wait is dropped when the deadline of a drain passes.
    ///
    /// If the peer leaves during the wait and sent nothing after this packet, the future is dropped and the connection
    /// ends, since the answer could not be delivered. The same holds for a peer that shuts down only its sending side,
    /// unless [`half_close`](crate::Builder::half_close) is on: then it still receives the answer.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::time::Duration;
    /// # struct Slow { served: u32 }
    /// # impl Protocol for Slow {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     let work = async move {
    ///         tokio::time::sleep(Duration::from_millis(20)).await;
    ///         packet
    ///     };
    ///     conn.wait(work, |packet, me, _conn| {
    ///         me.served += 1;
    ///         Next::Send(packet)
    ///     })
    /// }
    /// # }
    /// ```
    #[must_use = "the wait starts when the callback returns it"]
    pub fn wait<F, T>(&self, future: F, then: T) -> Next<P>
    where
        F: Future + 'static,
        T: FnOnce(F::Output, &mut P, &mut Conn<P>) -> Next<P> + 'static,
    {
        Next::Wait(Wait(Box::pin(async move {
            let output = future.await;
            Box::new(move |me: &mut P, conn: &mut Conn<P>| then(output, me, conn)) as Then<P>
        })))
    }

    /// Runs a blocking closure on another thread, then calls `then` with its output.
    ///
    /// Use it for file access, long computations and clients without an async API. As with [`wait`](Conn::wait),
    /// packets and messages stay queued in their order meanwhile, and other connections keep running.
    ///
    /// The thread is one of the arbiter's
    /// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html) threads, of which there are
    /// at most 512. The closure starts after the callback has returned, and after earlier waits of this connection. A
    /// panic in it ends this connection with [`Closed::Panic`](crate::Closed::Panic) and the panic's message.
    ///
    /// A closure that has started cannot be stopped. If the connection ends first, the closure still runs to
    /// completion, its output is dropped, and `then` is not called. The arbiter's thread does not end before the
    /// closure.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// use bytes::Bytes;
    ///
    /// /// Answers each line with the sum of its bytes, computed slowly.
    /// struct Sums { answered: u32 }
    ///
    /// impl Protocol for Sums {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///         if line.is_empty() {
    ///             return Next::Send(Bytes::from(format!("{} so far", self.answered)));
    ///         }
    ///         let work = move || {
    ///             std::thread::sleep(std::time::Duration::from_millis(20));
    ///             line.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    ///         };
    ///         conn.blocking(work, |sum, me, _conn| {
    ///             me.answered += 1;
    ///             Next::Send(Bytes::from(sum.to_string()))
    ///         })
    ///     }
    /// }
    ///
    /// # use std::io::{Read, Write};
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Sums { answered: 0 }).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let addr = pool.local_addr().expect("TCP");
    /// # let answers = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
    /// # let mut peer = std::net::TcpStream::connect(addr)?;
    /// // All lines arrive at once. Each is handled after the answer to the one before.
    /// peer.write_all(b"a\n\nb\n\n")?;
    /// # let mut answers = [0; 24];
    /// # peer.read_exact(&mut answers)?;
    /// # Ok(String::from_utf8_lossy(&answers).into_owned())
    /// # }).await??;
    /// assert_eq!(answers, "97\n1 so far\n98\n2 so far\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    #[must_use = "the closure starts when the callback returns it"]
    pub fn blocking<F, O, T>(&self, work: F, then: T) -> Next<P>
    where
        F: FnOnce() -> O + Send + 'static,
        O: Send + 'static,
        T: FnOnce(O, &mut P, &mut Conn<P>) -> Next<P> + 'static,
    {
        let output = async move {
            match spawn_blocking(work).await {
                Ok(output) => output,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The closure was cancelled before it started: the arbiter is stopping, and this connection with
                    // it.
                    Err(_) => pending().await,
                },
            }
        };
        self.wait(output, then)
    }
}
