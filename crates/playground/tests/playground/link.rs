//! The transport of a client: TCP, or TLS by rustls or native-tls.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub trait Link: Read + Write + Send {
    /// The TCP stream below.
    fn tcp(&self) -> &TcpStream;

    /// Ends the sending side: by FIN, or with TLS by `close_notify` only.
    fn finish(&mut self);
}

impl Link for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn finish(&mut self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

pub type Rustls = StreamOwned<ClientConnection, TcpStream>;

/// Runs the TLS handshake as a rustls client.
pub fn rustls(config: ClientConfig, name: &str, tcp: TcpStream) -> io::Result<Rustls> {
    let name = name.to_owned().try_into().unwrap();
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, tcp);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

impl Link for Rustls {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }

    fn finish(&mut self) {
        self.conn.send_close_notify();
        self.flush().unwrap();
    }
}

impl Link for native_tls::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }

    fn finish(&mut self) {
        self.shutdown().unwrap();
    }
}
