//! The [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), versions 1 and 2: a load balancer
//! says first for whom it speaks.
//!
//! ```text
//! trusted sender:   PROXY header │ what the peer behind it sends        peer() is whom the header names
//! anybody else:     required: not let in (denied)    optional: all of it is data
//! ```

mod header;
mod parse;

use bytes::BytesMut;
use futures::future::LocalBoxFuture;
use tokio::io::AsyncReadExt;

use super::{Handshake, HandshakeError, Handshaken};
use crate::net::{Address, Stream};
use crate::net::{Cidr, ParseCidrError};

pub use header::{ProxyHeader, ProxyTls};
use parse::{parse, Parsed};

/// What is read at once; most headers fit in.
const CHUNK: usize = 256;

/// The PROXY protocol for a listener: given to [`Listener::proxy_protocol`](crate::Listener::proxy_protocol).
///
/// A header is believed from trusted senders alone; nobody is trusted unless said. It must be there within the pool's
/// [`handshake_timeout`](crate::Builder::handshake_timeout), and comes before TLS. One that is malformed, too long or
/// stalled ends its connection, as [`Closed::Handshake`](crate::Closed::Handshake).
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
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    required: bool,
    trusted: Vec<Cidr>,
    trusts_local: bool,
    max_header: usize,
}

impl ProxyProtocol {
    /// A trusted sender must begin with a header. Nobody else is let in: they count as
    /// [`Denied`](crate::telemetry::RefusalReason::Denied).
    pub fn required() -> Self {
        ProxyProtocol { required: true, trusted: Vec::new(), trusts_local: false, max_header: 4_096 }
    }

    /// A trusted sender may begin with a header; what anybody else sends is data, and so is what a trusted one sends if it
    /// does not begin as a header does.
    ///
    /// Whoever waits for the server's first word must not be among the trusted ones: before a trusted sender has said
    /// something nobody knows whether there is a header.
    pub fn optional() -> Self {
        ProxyProtocol { required: false, ..Self::required() }
    }

    /// Believes senders whose address is in this block (CIDR), or this address; once for each. It is the socket's address
    /// that counts.
    ///
    /// # Errors
    /// When the text is neither an IP address nor a CIDR block.
    pub fn trust(mut self, block: &str) -> Result<Self, ParseCidrError> {
        self.trusted.push(block.parse()?);
        Ok(self)
    }

    /// Believes senders that have no IP address: those of Unix sockets, and of transports of one's own.
    pub fn trust_local(mut self) -> Self {
        self.trusts_local = true;
        self
    }

    /// The longest header of version 2 that is taken, in bytes with everything in it. (One of version 1 has 107 bytes at
    /// the most, as the protocol says.) Default: 4,096.
    pub fn max_header(mut self, bytes: usize) -> Self {
        self.max_header = bytes;
        self
    }

    /// Whether there is anybody to be believed.
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
        let (believed, required, most) = (self.trusts(peer), self.required, self.max_header);
        Box::pin(async move {
            if believed {
                return read(stream, required, most).await;
            }
            Ok(Handshaken::new(stream))
        })
    }

    fn allows(&self, peer: &Address) -> bool {
        !self.required || self.trusts(peer)
    }

    fn may_override_peer(&self, peer: &Address) -> bool {
        self.trusts(peer)
    }
}

/// Reads the header, and puts back what was read beyond it.
async fn read(mut stream: Stream, required: bool, most: usize) -> Result<Handshaken, HandshakeError> {
    let mut bytes = BytesMut::with_capacity(CHUNK);
    loop {
        match parse(&bytes, most).map_err(HandshakeError::failed)? {
            Parsed::Header(header, length) => {
                let stream = stream.put_back(bytes.split_off(length));
                let shaken = match header.source.clone() {
                    Some(source) => Handshaken::new(stream).with_peer(source),
                    None => Handshaken::new(stream),
                };
                return Ok(shaken.with_proxy(header));
            }
            Parsed::Data if required => return Err(HandshakeError::failed("there is no PROXY header")),
            Parsed::Data => return Ok(Handshaken::new(stream.put_back(bytes))),
            Parsed::Begun | Parsed::MayBegin => {}
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return match parse(&bytes, most) {
                Ok(Parsed::MayBegin) if !required => Ok(Handshaken::new(stream.put_back(bytes))),
                _ => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            };
        }
    }
}
