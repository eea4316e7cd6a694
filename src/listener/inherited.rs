//! Listening sockets that were opened before: by the parent process, systemd, or the program itself.

use std::fmt;
use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use socket2::{SockRef, Type};

#[cfg(unix)]
use super::Unix;
use super::{ListenerKind, OpenTransport, SocketOptions, Tcp};
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

/// The sockets that systemd, or another program with the same protocol, opened for this one, with their names.
#[cfg(all(unix, feature = "listenfd"))]
pub(super) fn activated() -> io::Result<Vec<(Option<String>, Inherited)>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let mut descriptors = listenfd::ListenFd::from_env();
    let mut sockets = Vec::with_capacity(descriptors.len());
    for index in 0..descriptors.len() {
        let name = names.next().flatten();
        let socket = match descriptors.take_tcp_listener(index) {
            Ok(tcp) => tcp.map(Inherited::from),
            Err(_) => descriptors.take_unix_listener(index).map(|unix| unix.map(Inherited::from)).map_err(|error| {
                let label = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                let why = format!("passed socket {index}{label} is neither a TCP nor a Unix stream socket: {error}");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?,
        };
        sockets.extend(socket.map(|socket| (name, socket)));
    }
    Ok(sockets)
}
