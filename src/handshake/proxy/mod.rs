//! The [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), versions 1 and 2: a load balancer
//! first sends the address of its client.
//!
//! ```text
//! trusted sender:   PROXY header │ bytes of the client                peer() is the address in the header
//! other senders:    required: refused (denied)    optional: all bytes are data
//! ```

mod encode;
mod header;
mod parse;

use bytes::BytesMut;
use futures::future::LocalBoxFuture;
use tokio::io::AsyncReadExt;

use super::{Handshake, HandshakeError, Handshaken};
use crate::net::{Address, Cidr, ParseCidrError, Stream};
use crate::telemetry::HandshakeFailure;

pub use encode::ProxyEncodeError;
pub use header::{ProxyHeader, ProxyTls};
use parse::{parse, Malformed, Parsed};

/// The size of one read. Most headers fit.
const READ_SIZE: usize = 256;

/// The default limit of a header of version 2, in bytes.
const MAX_HEADER: usize = 4_096;

/// The PROXY protocol for a listener: passed to [`Listener::proxy_protocol`](crate::Listener::proxy_protocol).
///
/// Headers are accepted only from trusted senders; by default there are none. A header must arrive within the pool's
/// [`handshake_timeout`](crate::Builder::handshake_timeout) and comes before TLS. A header that is malformed, too long or
/// late ends its connection with [`Closed::Handshake`](crate::Closed::Handshake).
///
/// ```
/// # #[cfg(feature = "proxy-protocol")]
/// # actix_rt::System::new().block_on(async {
/// use actix_acceptor::{proxy::ProxyProtocol, AcceptorPool, Listener, Socket};
/// use tokio::io::AsyncWriteExt;
///
/// let balancers = ProxyProtocol::required().trust("127.0.0.0/8")?;
/// let pool = AcceptorPool::with_fn(|mut socket: Socket| async move {
///     let peer = socket.peer().to_string();
///     socket.write_all(peer.as_bytes()).await
/// })
/// .listener(Listener::tcp("127.0.0.1:0").proxy_protocol(balancers))
/// .start()
/// .await?;
///
/// let mut balancer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
/// balancer.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n").await?;
/// let mut answer = String::new();
/// # use tokio::io::AsyncReadExt;
/// balancer.read_to_string(&mut answer).await?;
/// assert_eq!(answer, "203.0.113.7:4711");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "pass it to `Listener::proxy_protocol`"]
pub struct ProxyProtocol {
    required: bool,
    trusted: Vec<Cidr>,
    trusts_local: bool,
    max_header: usize,
}

impl ProxyProtocol {
    /// Requires a header from trusted senders and refuses all others, as
    /// [`Denied`](crate::telemetry::RefusalReason::Denied).
    pub fn required() -> Self {
        ProxyProtocol { required: true, trusted: Vec::new(), trusts_local: false, max_header: MAX_HEADER }
    }

    /// Accepts a header from trusted senders. All bytes of other senders are data, and so are the bytes of a trusted sender
    /// that do not start like a header.
    ///
    /// A client that waits for the server to send first must not be a trusted sender: the handshake waits for the first bytes
    /// of a trusted sender to find out whether there is a header.
    pub fn optional() -> Self {
        ProxyProtocol { required: false, ..Self::required() }
    }

    /// Trusts senders whose socket address is this IP address or in this CIDR block. May be called repeatedly.
    ///
    /// # Errors
    /// The text is neither an IP address nor a CIDR block.
    pub fn trust(mut self, senders: &str) -> Result<Self, ParseCidrError> {
        self.trusted.push(senders.parse()?);
        Ok(self)
    }

    /// Trusts senders without an IP address: those of Unix sockets and user-defined transports.
    pub fn trust_local(mut self) -> Self {
        self.trusts_local = true;
        self
    }

    /// Sets the maximum total length of a header of version 2, in bytes. The protocol limits headers of
    /// version 1 to 107 bytes.
    ///
    /// Default: 4,096.
    pub fn max_header(mut self, bytes: usize) -> Self {
        self.max_header = bytes;
        self
    }

    /// Whether any sender can be trusted.
    pub(crate) fn has_trusted_senders(&self) -> bool {
        self.trusts_local || !self.trusted.is_empty()
    }

    fn trusts(&self, peer: &Address) -> bool {
        match peer.ip() {
            Some(ip) => self.trusted.iter().any(|block| block.contains(ip)),
            None => self.trusts_local,
        }
    }
}

impl Handshake for ProxyProtocol {
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let (trusted, required, max_header) = (self.trusts(peer), self.required, self.max_header);
        Box::pin(async move {
            if trusted {
                read_header(stream, required, max_header).await
            } else {
                Ok(Handshaken::new(stream))
            }
        })
    }

    fn applies_to(&self, peer: &Address) -> bool {
        self.trusts(peer)
    }

    fn waits_for_peer(&self, _: &Address) -> bool {
        true
    }

    fn allows(&self, peer: &Address) -> bool {
        !self.required || self.trusts(peer)
    }

    fn may_override_peer(&self, peer: &Address) -> bool {
        self.trusts(peer)
    }
}

/// Reads the header and puts back the bytes that follow it.
async fn read_header(mut stream: Stream, required: bool, max_header: usize) -> Result<Handshaken, HandshakeError> {
    let mut bytes = BytesMut::with_capacity(READ_SIZE);
    loop {
        match parse(&bytes, max_header).map_err(invalid)? {
            Parsed::Header(header, length) => {
                let stream = stream.put_back(bytes.split_off(length));
                let done = match header.source.clone() {
                    Some(source) => Handshaken::new(stream).with_peer(source),
                    None => Handshaken::new(stream),
                };
                return Ok(done.with_proxy(header));
            }
            Parsed::Data if required => return Err(missing()),
            Parsed::Data => return Ok(Handshaken::new(stream.put_back(bytes))),
            Parsed::Incomplete | Parsed::Undecided => {}
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return match parse(&bytes, max_header) {
                Ok(Parsed::Undecided) if !required => Ok(Handshaken::new(stream.put_back(bytes))),
                _ => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            };
        }
    }
}

fn missing() -> HandshakeError {
    HandshakeError::of_kind(HandshakeFailure::ProxyMissing, "missing PROXY header")
}

fn invalid(error: Malformed) -> HandshakeError {
    HandshakeError::of_kind(HandshakeFailure::ProxyInvalid, error)
}
