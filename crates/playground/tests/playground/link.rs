//! What carries a client's bytes: TCP, or TLS over it by a library that we did not write.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub trait Link: Read + Write + Send {
    /// What is below.
    fn tcp(&self) -> &TcpStream;

    /// Says that nothing more comes: by FIN, or by `close_notify` alone.
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

/// Shakes hands as a client of rustls.
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
