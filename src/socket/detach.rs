//! A [`Socket`] that leaves its pool.

use super::Socket;
use crate::detached::Detached;

impl Socket {
    /// Takes the connection out of the pool and returns its byte stream, which is [`Send`].
    ///
    /// When the method returns, the connection has ended for the pool, with
    /// [`CloseReason::Detached`](crate::telemetry::CloseReason::Detached) unless another reason was
    /// [set](Socket::set_close_reason) or the pool had ended it before. See [`Detached`] for what applies to the stream. A drain
    /// does not wait for the async fn or the actor, which continues.
    ///
    /// [Pushes](Socket::pushes) that were not taken are dropped. To send them, call [`Pushes::close`](crate::Pushes::close) and
    /// write the rest before. The futures of [`draining`](Socket::draining) and [`closing`](Socket::closing) resolve, as when the
    /// socket is dropped.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Socket};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// async fn serve(mut socket: Socket) -> std::io::Result<()> {
    ///     if socket.read_u8().await? == b'T' {
    ///         let Ok(tcp) = socket.into_inner().into_tcp() else { return Ok(()) };
    ///         let tcp = tcp.into_std()?;
    ///         // Another thread, without the pool.
    ///         std::thread::spawn(move || {
    ///             tcp.set_nonblocking(false)?;
    ///             std::io::Write::write_all(&mut &tcp, b"from a thread")
    ///         });
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await?;
    /// let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// peer.write_all(b"T").await?;
    /// let mut received = String::new();
    /// peer.read_to_string(&mut received).await?;
    /// assert_eq!(received, "from a thread");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn into_inner(mut self) -> Detached {
        // If the pool has ended the connection, its reason counts.
        let _ = self.shared.handle_signals();
        let (stream, negotiated) = (self.io.take(), std::mem::take(&mut self.negotiated));
        let detached = Detached::new(stream, &[], self.shared.state(), negotiated);
        self.shared.detach();
        detached
    }
}
