//! Waits for blocking closures, which run in the queue of the pool.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;

use super::wait::{Wait, WaitEnded};
use super::{Conn, Next, Protocol};

impl<P: Protocol> Conn<P> {
    /// Runs a blocking closure on another thread, then calls `then` with its output.
    ///
    /// Use it for file access, long computations and clients without an async API. As with [`wait`](Conn::wait),
    /// packets and messages stay queued in their order meanwhile, and other connections keep running.
    ///
    /// At most [`max_blocking`](crate::Builder::max_blocking) closures of a pool run at the same time; further ones wait in
    /// one first-in, first-out queue for all connections. The closure starts after the callback has returned, and after
    /// earlier waits of this connection. The thread is one of the arbiter's
    /// [`spawn_blocking`](https://docs.rs/tokio/latest/tokio/task/fn.spawn_blocking.html) threads, of which there are
    /// at most 512. A panic in the closure ends this connection with [`Closed::Panic`](crate::Closed::Panic) and the
    /// panic's message. If the arbiter has no such thread and the system cannot start one, the connection ends with
    /// [`Closed::Error`](crate::Closed::Error), and the closure is dropped.
    ///
    /// As with any [`wait`](Conn::wait), `then` is called even if the peer has sent a FIN. If the connection ends first, a
    /// closure that is still in the queue is dropped. One that has started cannot be stopped: it runs to completion and
    /// counts until then, its output is dropped, and `then` is not called. The arbiter's thread does not end before the
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
    ///             return Next::send(format!("{} so far", self.answered));
    ///         }
    ///         let work = move || {
    ///             std::thread::sleep(std::time::Duration::from_millis(20));
    ///             line.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    ///         };
    ///         conn.blocking(work, |sum, me, _conn| {
    ///             me.answered += 1;
    ///             Next::send(sum.to_string())
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
        self.wait(self.run_blocking(work), |output, me, conn| match output {
            Ok(output) => then(output, me, conn),
            Err(no_thread) => Next::fail(no_thread),
        })
    }

    /// As [`blocking`](Conn::blocking), with the options of a [`Wait`]: a time limit, an end when the peer leaves or the
    /// pool shuts down, messages meanwhile.
    ///
    /// A wait that ends before a closure that is still in the queue drops the closure. One that has started runs to
    /// completion and counts for [`max_blocking`](crate::Builder::max_blocking) until then; its output is dropped.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol, Wait};
    /// # use bytes::Bytes;
    /// # struct Resizer;
    /// # fn resize(image: Bytes) -> Bytes { image }
    /// # impl Protocol for Resizer {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, image: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     // Images of clients that have left are not resized if their turn has not come yet.
    ///     conn.blocking_with(Wait::new().until_peer_leaves(), move || resize(image), |outcome, _, _| match outcome {
    ///         Ok(image) => Next::Send(image),
    ///         Err(_) => Next::Stop,
    ///     })
    /// }
    /// # }
    /// ```
    #[must_use = "the closure starts when the callback returns it"]
    pub fn blocking_with<F, O, T>(&self, options: Wait, work: F, then: T) -> Next<P>
    where
        F: FnOnce() -> O + Send + 'static,
        O: Send + 'static,
        T: FnOnce(Result<O, WaitEnded>, &mut P, &mut Conn<P>) -> Next<P> + 'static,
    {
        self.wait_with(options, self.run_blocking(work), |outcome, me, conn| match outcome {
            Ok(Ok(output)) => then(Ok(output), me, conn),
            Ok(Err(no_thread)) => Next::fail(no_thread),
            Err(why) => then(Err(why), me, conn),
        })
    }

    /// Runs the closure on a thread, when its turn has come. The error is the system's if no thread can be started.
    fn run_blocking<F, O>(&self, work: F) -> impl Future<Output = io::Result<O>> + 'static
    where
        F: FnOnce() -> O + Send + 'static,
        O: Send + 'static,
    {
        let jobs = self.guard.state().listener().limits().blocking().clone();
        let span = self.guard.span().cloned();
        let work = move || {
            let _entered = span.as_ref().map(|span| span.enter());
            work()
        };
        async move { jobs.run(work).await.map(|output| output.unwrap_or_else(|panic| resume_unwind(panic))) }
    }
}
