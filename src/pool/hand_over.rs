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
    ///
    /// # Another process
    /// The descriptors are closed by `exec`; pass one on purpose, here as the standard input of the child (Unix). The order matters:
    /// the child starts its pool and says that it is ready; only then does the parent drain its own. If the child fails before,
    /// the parent keeps serving.
    ///
    /// ```no_run
    /// # #[cfg(unix)] mod unix {
    /// use actix_acceptor::{handlers::NoActor, limits::BacklogPolicy, AcceptorPool, Drain, Listener, Pool, Socket};
    /// use std::io::{BufRead, BufReader};
    /// use std::net::TcpListener;
    /// use std::os::fd::{AsFd, OwnedFd};
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
    ///
    /// async fn parent(old: Pool<NoActor>) -> Result<()> {
    ///     let listening = old.listening_sockets()?.pop().ok_or("nothing to hand over")?;
    ///     let mut command = Command::new("/usr/local/bin/server");
    ///     command.arg("--successor").stdin(OwnedFd::from(listening.socket)).stdout(Stdio::piped());
    ///     let mut child = command.spawn()?;
    ///     let output = child.stdout.take().ok_or("no output")?;
    ///     let mut line = String::new();
    ///     // Reading blocks, so it is done outside the arbiter.
    ///     let read = move || BufReader::new(output).read_line(&mut line).map(|_| line);
    ///     if tokio::task::spawn_blocking(read).await?? != "ready\n" {
    ///         return Err("the successor has failed; this process keeps serving".into());
    ///     }
    ///     old.drain(Drain::grace(Duration::from_secs(10)).backlog_on_close(BacklogPolicy::Drop)).await;
    ///     Ok(())
    /// }
    ///
    /// async fn child() -> Result<Pool<NoActor>> {
    ///     let socket = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    ///     let listener = Listener::from_socket(socket).name("public");
    ///     let pool = AcceptorPool::with_fn(|_: Socket| async {}).listener(listener).start().await?;
    ///     println!("ready"); // With the line break, the line is written at once.
    ///     Ok(pool)
    /// }
    /// # }
    /// ```
    ///
    /// A Unix socket becomes a `UnixListener` in the child. The standard input of the child is a duplicate as well: the port stays
    /// open until the child exits. The parent closes its end of the pipe above, so a later `println!` in the child panics; logs go
    /// to the standard error.
    ///
    /// Several sockets can be passed as systemd does (feature `listenfd`): the parent duplicates them to the descriptors 3, 4 and
    /// so on of the child, which the standard library cannot do without `unsafe` (`pre_exec`), and sets `LISTEN_FDS` to their
    /// number and `LISTEN_FDNAMES` to their names, joined by colons. `LISTEN_PID` must be the id of the child or not be set. The
    /// child calls `Listener::from_systemd`, which keeps the names.
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
