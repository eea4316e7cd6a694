//! [`Pool::listening_sockets`], for handing the listeners over to another pool or process.

use std::io;

use super::Pool;
use crate::listener::ListeningSocket;

impl<A> Pool<A> {
    /// Returns a duplicate of every open listening socket, to hand them over to another pool or process without refusing a peer
    /// (hot upgrade). In-memory listeners and user-defined transports are left out. The list is empty while the pool is suspended
    /// with [`SuspendMode::Close`](crate::SuspendMode::Close), and once it has ended.
    ///
    /// Both descriptors accept from the same queue of the kernel, and the port stays open until both are closed. Start the
    /// successor, then drain this pool with [`BacklogPolicy::Drop`](crate::limits::BacklogPolicy::Drop), which leaves the peers in
    /// the queue to the successor. Accepted connections are drained as always.
    ///
    /// A listener with [a socket for each acceptor](crate::Listener::reuse_port_per_acceptor) has an entry for each socket. Hand
    /// over all of them: the peers in the queue of a socket that closes are reset.
    ///
    /// The file of a Unix socket belongs to the successor from now on: this pool no longer removes it.
    ///
    /// # Errors
    /// A socket cannot be duplicated, for example because the process is out of descriptors.
    ///
    /// ```
    /// # use std::io::Read;
    /// # use std::time::Duration;
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{limits::BacklogPolicy, AcceptorPool, Drain, Listener, Socket};
    ///
    /// let old = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let mut successor = AcceptorPool::with_fn(|_: Socket| async {});
    /// for listening in old.listening_sockets()? {
    ///     successor = successor.listener(Listener::from_socket(listening.socket).name(listening.name));
    /// }
    /// let new = successor.start().await?;
    /// assert_eq!(new.local_addr(), old.local_addr());
    /// old.drain(Drain::grace(Duration::from_secs(10)).backlog_on_close(BacklogPolicy::Drop)).await;
    /// # let address = new.local_addr().expect("TCP");
    /// # tokio::task::spawn_blocking(move || std::net::TcpStream::connect(address)?.read(&mut [0])).await??;
    /// # assert_eq!(new.info().accepted, 1);
    /// # new.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn listening_sockets(&self) -> io::Result<Vec<ListeningSocket>> {
        let listeners = self.shared.listeners.lock().clone();
        let mut sockets = Vec::with_capacity(listeners.len());
        for listener in &listeners {
            for socket in listener.transport.duplicates()? {
                sockets.push(ListeningSocket { name: listener.name(), address: listener.address().clone(), socket });
            }
        }
        Ok(sockets)
    }
}
