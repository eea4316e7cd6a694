//! Listening sockets that were opened before: by the parent process, systemd, or the program itself.

use std::fmt;
use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use socket2::{SockRef, Type};

#[cfg(unix)]
use super::Unix;
use super::{Listener, ListenerKind, OpenTransport, SocketOptions, Tcp};
use crate::net::Address;

/// A socket that already listens: a [`TcpListener`](std::net::TcpListener) of `std` or, on Unix, a `UnixListener`.
#[must_use = "pass it to `Listener::from_socket`"]
pub struct Inherited(Socket);

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Inherited {
    /// Another descriptor of the same socket.
    #[cfg(all(unix, feature = "listenfd"))]
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Inherited(match &self.0 {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
        }))
    }

    pub(super) fn kind(&self) -> ListenerKind {
        match &self.0 {
            Socket::Tcp(_) => ListenerKind::TcpInherited,
            #[cfg(unix)]
            Socket::Unix(_) => ListenerKind::UnixOther,
        }
    }

    /// Checks the type of the socket and sets its options.
    pub(super) fn open(self, options: SocketOptions) -> io::Result<OpenTransport> {
        match self.0 {
            Socket::Tcp(socket) => Tcp::take_over(socket, options).map(OpenTransport::Tcp),
            #[cfg(unix)]
            Socket::Unix(socket) => Unix::take_over(socket, options).map(OpenTransport::Unix),
        }
    }

    fn address(&self) -> Option<Address> {
        match &self.0 {
            Socket::Tcp(socket) => socket.local_addr().ok().map(Address::Tcp),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.local_addr().ok().map(|address| Address::Unix((&address).into())),
        }
    }
}

/// As error messages name it.
impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(f, "the inherited socket {}", address.url()),
            None => f.write_str("the inherited socket"),
        }
    }
}

impl From<TcpListener> for Inherited {
    fn from(socket: TcpListener) -> Self {
        Inherited(Socket::Tcp(socket))
    }
}

#[cfg(unix)]
impl From<UnixListener> for Inherited {
    fn from(socket: UnixListener) -> Self {
        Inherited(Socket::Unix(socket))
    }
}

/// As [`Listener::from_socket`].
///
/// ```
/// use actix_acceptor::{AcceptorPool, Listener, Socket};
///
/// # actix_rt::System::new().block_on(async {
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = socket.local_addr()?;
/// let pool = AcceptorPool::with_fn(|_: Socket| async {}).listener(Listener::from(socket)).start().await?;
/// assert_eq!(pool.local_addr(), Some(address));
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Listener::from_socket(socket)
    }
}

/// As [`Listener::from_socket`].
#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(socket: UnixListener) -> Self {
        Listener::from_socket(socket)
    }
}

/// As [`Listener::from_socket`], for a socket that was opened with tokio. The socket is deregistered from its runtime. Fails if the
/// system does not allow this.
///
/// ```
/// use actix_acceptor::{AcceptorPool, Listener, Socket};
///
/// # actix_rt::System::new().block_on(async {
/// let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let address = socket.local_addr()?;
/// let pool = AcceptorPool::with_fn(|_: Socket| async {}).listener(socket.try_into()?).start().await?;
/// assert_eq!(pool.local_addr(), Some(address));
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
impl TryFrom<tokio::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: tokio::net::TcpListener) -> io::Result<Self> {
        socket.into_std().map(Listener::from_socket)
    }
}

/// As [`Listener::from_socket`], for a socket that was opened with tokio. The socket is deregistered from its runtime. Fails if the
/// system does not allow this. The file of the socket is not removed.
#[cfg(unix)]
impl TryFrom<tokio::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: tokio::net::UnixListener) -> io::Result<Self> {
        socket.into_std().map(Listener::from_socket)
    }
}

impl fmt::Debug for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inherited").field(&self.address()).finish()
    }
}

/// Checks that a socket listens. An inherited descriptor may be of any kind, regardless of its Rust type.
pub(super) fn check_listening(socket: &SockRef<'_>) -> io::Result<()> {
    let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if socket.r#type()? != Type::STREAM {
        return invalid("it is not a stream socket");
    }
    // On other systems the first accept reports it.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !socket.is_listener()? {
        return invalid("it does not listen");
    }
    Ok(())
}

/// The error of suspending an inherited socket by closing it.
pub(super) fn cannot_reopen() -> io::Error {
    let why = "an inherited socket cannot be closed and reopened; suspend with `SuspendMode::Hold`";
    io::Error::new(io::ErrorKind::Unsupported, why)
}
