//! TLS with both back ends. The clients are rustls, native-tls and the program `openssl`.

mod certificates;
mod echo;
mod endings;
mod handshakes;
mod live;
mod options;
mod starttls;
mod traffic;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ::rustls::{ClientConnection, StreamOwned};

use crate::client::{tcp, Client, Wire};
use crate::link::{rustls, Link, Rustls};
use crate::process::{playground_with_tls, Playground};
use crate::support::{pki::Pki, start_program};

pub use handshakes::adds_up;

pub const BACKENDS: [&str; 2] = ["native", "rustls"];

/// A certificate authority and its certificate for `localhost`.
pub struct TestCerts {
    pub pki: Pki,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TestCerts {
    /// `name`: the name of the folder of this test.
    pub fn new(name: &str) -> Self {
        let pki = Pki::new(&format!("playground-{name}"));
        let (certificate, key) = pki.issue("localhost");
        TestCerts { pki, certificate, key }
    }

    /// The TLS options of the playground.
    pub fn options(&self, backend: &str) -> String {
        pair(&self.certificate, &self.key) + " --tls-backend " + backend
    }

    /// A playground with a TLS port.
    pub fn playground(&self, backend: &str, options: &str) -> Playground {
        playground_with_tls(&format!("{} {options}", self.options(backend)))
    }

    /// Starts TLS on an open connection.
    pub fn secure(&self, tcp: TcpStream) -> io::Result<Rustls> {
        rustls(self.pki.client(None), "localhost", tcp)
    }

    /// Starts TLS and sends these bytes before the ClientHello, in the same write.
    pub fn secure_behind(&self, bytes: &[u8], tcp: TcpStream) -> Rustls {
        let config = Arc::new(self.pki.client(None));
        let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut tls = StreamOwned::new(session, tcp);
        let mut first = bytes.to_vec();
        tls.conn.write_tls(&mut first).unwrap();
        tls.sock.write_all(&first).unwrap();
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).unwrap();
        }
        tls
    }

    /// The ClientHello of a client.
    pub fn hello(&self) -> Vec<u8> {
        let config = Arc::new(self.pki.client(None));
        let mut session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        hello
    }

    /// Connects a rustls client.
    pub fn connect(&self, playground: &Playground) -> Client {
        self.connect_at(playground.address(), playground.wire())
    }

    pub fn connect_at(&self, address: SocketAddr, wire: Wire) -> Client {
        Client::over(self.secure(tcp(address).unwrap()).unwrap(), wire)
    }

    /// Connects a client with a small receive buffer.
    pub fn narrow(&self, playground: &Playground) -> Client {
        let tcp = tcp(playground.address()).unwrap();
        socket2::SockRef::from(&tcp).set_recv_buffer_size(100_000).unwrap();
        Client::over(self.secure(tcp).unwrap(), playground.wire())
    }

    /// Connects a client and waits for its first echo.
    pub fn greeted(&self, playground: &Playground) -> Client {
        let mut client = self.connect(playground);
        assert_eq!(client.ask("hello"), "hello");
        client
    }

    /// Connects a native-tls client.
    pub fn connect_natively(&self, playground: &Playground) -> Client {
        let authority = std::fs::read(self.pki.authority()).unwrap();
        let authority = native_tls::Certificate::from_pem(&authority).unwrap();
        let connector = native_tls::TlsConnector::builder().add_root_certificate(authority).build().unwrap();
        let tls = connector.connect("localhost", tcp(playground.address()).unwrap()).unwrap();
        Client::over(tls, playground.wire())
    }

    /// Sends bytes with `openssl s_client` and returns the answer.
    pub fn openssl(&self, playground: &Playground, options: &str, input: &[u8]) -> Vec<u8> {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost", "-CAfile"]);
        client.arg(self.pki.authority()).args(["-connect", &playground.address().to_string()]);
        client.args(options.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = start_program(&mut client);
        client.stdin.take().unwrap().write_all(input).unwrap();
        client.wait_with_output().unwrap().stdout
    }
}

/// The options of a certificate and its key.
pub fn pair(certificate: &Path, key: &Path) -> String {
    format!("--tls-cert {} --tls-key {}", certificate.display(), key.display())
}

/// Closes the TCP connection without `close_notify`.
fn cut_off(client: Client) {
    Link::finish(&mut client.into_tcp());
}
