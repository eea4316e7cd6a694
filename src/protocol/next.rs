//! What a callback answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::{Conn, Protocol};
use crate::error::BoxError;

/// What is to happen next: the answer of every callback.
///
/// As gen_server's `{noreply, S}`, `{reply, R, S}`, `{stop, Reason, S}`, and condor's `{send, P, S}` and
/// `{send_and_stop, P, R, S}`; the state is the protocol's own `self`.
#[non_exhaustive]
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
    /// Wait for a future, made by [`Conn::wait`]: until it is done this connection takes in neither packets nor messages.
    Wait(Wait<P>),
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
        }
    }
}

/// A future that a connection waits for, and what it does with the outcome. Made by [`Conn::wait`].
pub struct Wait<P: Protocol>(pub(crate) Pending<P>);

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
}
