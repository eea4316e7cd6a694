//! Opens listening TCP sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::SocketOptions;

/// Opens sockets at one address. With port 0, the system chooses a port for the first.
pub(super) fn listen_all(
    mut addr: SocketAddr,
    options: &SocketOptions,
    count: usize,
) -> io::Result<Vec<Arc<TcpListener>>> {
    let mut sockets = Vec::with_capacity(count);
    for number in 0..count {
        let socket = bind(addr, options, number > 0)?;
        if number == 0 && count > 1 {
            addr = socket.local_addr()?.as_socket().unwrap_or(addr);
            // Only once it is bound: the port must not be one that another program listens on with this option.
            set_reuse_port(&socket)?;
        }
        options.set_tcp(&SockRef::from(&socket))?;
        options.call_on_bind(&socket)?;
        sockets.push(socket);
    }
    // No peer connects before everything else has succeeded.
    sockets.iter().try_for_each(|socket| socket.listen(options.backlog()))?;
    Ok(sockets.into_iter().map(|socket| Arc::new(TcpListener::from(socket))).collect())
}

/// `is_further` is true for a socket that has the address of another one of the same listener.
fn bind(addr: SocketAddr, options: &SocketOptions, is_further: bool) -> io::Result<Socket> {
    let socket = options.tcp_socket(addr)?;
    // On Windows the same option would let another program bind the port as well.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if options.reuse_port == Some(true) || is_further {
        set_reuse_port(&socket)?;
    }
    if let (SocketAddr::V6(_), Some(only)) = (addr, options.only_v6) {
        socket.set_only_v6(only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn set_reuse_port(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// What the system chooses for new IPv6 sockets.
pub(super) fn system_only_v6() -> io::Result<bool> {
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?.only_v6()
}
