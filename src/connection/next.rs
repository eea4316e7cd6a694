//! What a callback answers.

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

/// What is to happen next: the answer of every callback.
///
/// As gen_server's `{noreply, S}`, `{reply, R, S}`, `{stop, CloseReason, S}`, and condor's `{send, P, S}` and
/// `{send_and_stop, P, R, S}`; the state is the protocol's own `self`.
#[non_exhaustive]
#[must_use = "a callback's answer does nothing unless it is returned"]
pub enum Next<P: Protocol> {
    /// Go on.
    Continue,
    /// Send this, then go on. A reply that cannot be encoded ends the connection with [`Closed::Error`]; to go on
    /// nevertheless use [`Conn::send`].
    ///
    /// [`Closed::Error`]: crate::Closed::Error
    Send(P::Reply),
    /// End the connection. What was queued before is sent first.
    Stop,
    /// Send this, then end the connection.
    SendAndStop(P::Reply),
    /// End the connection with an error: [`Closed::Error`](crate::Closed::Error). What was queued before is sent first.
    Fail(BoxError),
    /// Wait for a future, made by [`Conn::wait`] or [`Conn::blocking`]: until it is done this connection takes in neither packets nor messages.
    Wait(Wait<P>),
    /// Go through a handshake, made by [`Next::upgrade`]: STARTTLS.
    Upgrade(Box<Arc<dyn Handshake>>),
    /// Send a file, made by [`Next::file`], then go on.
    File(Box<FileRange>),
}

impl<P: Protocol> Next<P> {
    /// [`Next::Fail`] of anything that is or makes an error.
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

    /// Turns a plain connection into a TLS one (STARTTLS), or goes through any other handshake: what was queued before
    /// leaves in clear first. Packets come as before, under the new cover; [`Conn::tls`](crate::Conn::tls) tells of it.
    ///
    /// Bytes that the peer has sent in clear behind its wish end the connection with
    /// [`HandshakeError::PlaintextAfterStartTls`](crate::transport::HandshakeError::PlaintextAfterStartTls): taken for what it says under TLS, they would be
    /// anybody's who sits in between ([CVE-2011-0411](https://nvd.nist.gov/vuln/detail/CVE-2011-0411)).
    pub fn upgrade(handshake: impl Handshake) -> Self {
        Next::Upgrade(Box::new(Arc::new(handshake)))
    }

    /// Sends a file, or a range of it, then goes on: as [`Conn::send_file`].
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

/// A future that a connection waits for, and what it does with the outcome. Made by [`Conn::wait`] and [`Conn::blocking`].
pub struct Wait<P: Protocol>(pub(crate) Pending<P>);

impl<P: Protocol> fmt::Debug for Wait<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// What is left to do once the future is done.
pub(crate) type Then<P> = Box<dyn FnOnce(&mut P, &mut Conn<P>) -> Next<P>>;
pub(crate) type Pending<P> = Pin<Box<dyn Future<Output = Then<P>>>>;

impl<P: Protocol> Conn<P> {
    /// Waits for a future, then goes on with what it yields.
    ///
    /// Nothing blocks: other connections go on. This one takes in neither packets nor messages until then: packets are
    /// held in their order, messages in theirs, and whoever awaits the answer to a message awaits it for as long (give such
    /// a request a time limit). A shutdown of the pool is told when the wait is over, or at the deadline ends it.
    ///
    /// If the peer leaves meanwhile and has sent nothing behind this packet, there is nobody to answer: the future is
    /// dropped and the connection ends. That includes a peer that shuts only its sending side; with
    /// [`half_close`](crate::Builder::half_close) on, such a peer still gets its answer.
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
    #[must_use = "the wait begins when the callback answers with it"]
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
    /// Runs a closure that blocks (a file, a computation, a client that knows no futures) on a thread of its own, then goes
    /// on with what it returns. Otherwise as [`wait`](Conn::wait): packets and messages are held in their order meanwhile,
    /// and nobody else waits.
    ///
    /// The thread is one of those that the arbiter keeps for
    /// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html), at most 512 at a time. The closure
    /// begins when the callback has answered with it, behind waits that were asked for before. A panic in it ends this
    /// connection with [`Closed::Panic`](crate::Closed::Panic) and its text.
    ///
    /// A closure that has begun cannot be stopped: when the connection ends before it, it runs on to its end, what it returns
    /// is dropped, and `then` is not called. The arbiter's thread ends after it, too.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// use bytes::Bytes;
    ///
    /// /// A line is answered with its sum of bytes, worked out slowly.
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
    /// // The lines behind the first one are there at once; they are taken when its sum is known.
    /// peer.write_all(b"a\n\nb\n\n")?;
    /// # let mut answers = [0; 24];
    /// # peer.read_exact(&mut answers)?;
    /// # Ok(String::from_utf8_lossy(&answers).into_owned())
    /// # }).await??;
    /// assert_eq!(answers, "97\n1 so far\n98\n2 so far\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    #[must_use = "the work begins when the callback answers with it"]
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
                    // Not even begun: the arbiter is going down, and this connection with it.
                    Err(_) => pending().await,
                },
            }
        };
        self.wait(output, then)
    }
}
