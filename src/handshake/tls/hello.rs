//! [`ClientHello`], the argument of the user's hook.

use std::fmt;
use std::sync::Arc;

use super::Tls;
use crate::error::BoxError;
use crate::net::Address;

/// The first message of a TLS client, before anything is negotiated: the argument of
/// [`TlsBuilder::on_client_hello`](super::TlsBuilder::on_client_hello).
pub struct ClientHello<'a> {
    pub(super) hello: rustls::server::ClientHello<'a>,
    pub(super) peer: &'a Address,
}

impl ClientHello<'_> {
    /// The peer's address: the one named by a trusted PROXY header, else the socket's.
    pub fn peer(&self) -> &Address {
        self.peer
    }

    /// The server name that the peer requests (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.hello.server_name()
    }

    /// The application protocols that the peer offers (ALPN), the preferred one first.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.hello.alpn().into_iter().flatten()
    }

    /// The cipher suites that the peer offers, by their IANA numbers, the preferred one first.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + '_ {
        self.hello.cipher_suites().iter().map(|suite| u16::from(*suite))
    }
}

impl fmt::Debug for ClientHello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ClientHello");
        f.field("peer", self.peer).field("server_name", &self.server_name()).finish_non_exhaustive()
    }
}

/// The user's hook.
pub(super) type OnHello = Arc<dyn Fn(&ClientHello<'_>) -> Result<Option<Tls>, BoxError> + Send + Sync>;
