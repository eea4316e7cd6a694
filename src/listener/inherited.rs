//! Listening sockets that others have opened: the program that started this one, systemd, one's own code.

use std::fmt;
use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use socket2::{SockRef, Type};

#[cfg(unix)]
use super::Unix;
use super::{ListenerKind, SocketOptions, Tcp, Transport};
use crate::net::Address;

/// A socket that listens already: of `std`, made from a [`TcpListener`](std::net::TcpListener) or, on Unix, a
/// `UnixListener`.
pub struct Inherited(Socket);

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Inherited {
    pub(crate) fn opening(&self) -> ListenerKind {
        match &self.0 {
            Socket::Tcp(_) => ListenerKind::TcpInherited,
            #[cfg(unix)]
            Socket::Unix(_) => ListenerKind::UnixOther,
        }
    }

    /// Checks its kind and sets it.
    pub(crate) fn open(self, options: SocketOptions) -> io::Result<Box<dyn Transport>> {
        match self.0 {
            Socket::Tcp(socket) => Ok(Box::new(Tcp::take_over(socket, options)?)),
            #[cfg(unix)]
            Socket::Unix(socket) => Ok(Box::new(Unix::take_over(socket, options)?)),
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

/// What errors call it.
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

/// A descriptor that was handed over may be anything, whatever type it was put into.
pub(super) fn check_listening(socket: &SockRef<'_>) -> io::Result<()> {
    let wrong = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if socket.r#type()? != Type::STREAM {
        return wrong("it is not a stream socket");
    }
    // Elsewhere the first accept tells.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !socket.is_listener()? {
        return wrong("it does not listen");
    }
    Ok(())
}

pub(super) fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "an inherited socket can be held, not closed and opened again")
}

/// The sockets that systemd (or another program that speaks its protocol) has opened for this one, with their names.
#[cfg(all(unix, feature = "listenfd"))]
pub(crate) fn activated() -> io::Result<Vec<(Option<String>, Inherited)>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let mut descriptors = listenfd::ListenFd::from_env();
    let mut sockets = Vec::with_capacity(descriptors.len());
    for at in 0..descriptors.len() {
        let name = names.next().flatten();
        let socket = match descriptors.take_tcp_listener(at) {
            Ok(tcp) => tcp.map(Inherited::from),
            Err(_) => descriptors.take_unix_listener(at).map(|unix| unix.map(Inherited::from)).map_err(|error| {
                let called = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                let why = format!("socket {at} of those passed{called} is neither TCP nor a Unix stream: {error}");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?,
        };
        sockets.extend(socket.map(|socket| (name, socket)));
    }
    Ok(sockets)
}
