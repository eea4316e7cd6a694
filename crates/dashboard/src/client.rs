//! [`Client`], where a request comes from, also behind reverse proxies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use actix_acceptor::limits::Rule;
use actix_web::HttpRequest;

use crate::text::clean;

/// How many characters of an unverified header are logged.
const MAX_HEADER: usize = 200;

/// The reverse proxies whose `X-Forwarded-For` is trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    blocks: Vec<Rule>,
    unix_sockets: bool,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// `None` on a Unix socket.
    peer: Option<SocketAddr>,
    /// The address of the peer, or the one that trusted proxies forward for.
    pub(crate) address: Option<IpAddr>,
    /// The `X-Forwarded-For` of a peer that is not a trusted proxy, for the log.
    pub(crate) unverified: Option<String>,
}

impl Proxies {
    /// # Errors
    /// Which text is neither an address nor a block, with the error.
    pub(crate) fn parse<S: AsRef<str>>(blocks: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let mut proxies = Proxies::default();
        for block in blocks {
            match block.as_ref() {
                "unix" => proxies.unix_sockets = true,
                block => proxies.blocks.push(Rule::allow(block).map_err(|error| format!("{block:?}: {error}"))?),
            }
        }
        Ok(proxies)
    }

    fn trusts(&self, address: Option<IpAddr>) -> bool {
        address.map_or(self.unix_sockets, |address| self.blocks.iter().any(|block| block.matches(address)))
    }

    /// Behind trusted proxies, the client is the last address of the header that is not a trusted proxy: the client itself can send
    /// only what precedes it.
    pub(crate) fn client(&self, request: &HttpRequest) -> Client {
        let peer = request.peer_addr();
        let mut address = peer.map(|peer| peer.ip().to_canonical());
        let lines = request.headers().get_all("x-forwarded-for").map(|value| value.to_str().unwrap_or("?"));
        let header = lines.collect::<Vec<_>>().join(",");
        if !self.trusts(address) {
            let unverified = Some(clean(&header, MAX_HEADER)).filter(|header| !header.is_empty());
            return Client { peer, address, unverified };
        }
        for hop in header.rsplit(',') {
            let Some(ip) = ip_of(hop.trim()) else { break };
            address = Some(ip);
            if !self.trusts(address) {
                break;
            }
        }
        Client { peer, address, unverified: None }
    }
}

/// Some proxies add the port.
fn ip_of(text: &str) -> Option<IpAddr> {
    let socket = || text.parse().ok().map(|socket: SocketAddr| socket.ip());
    text.parse().ok().or_else(socket).map(|ip| ip.to_canonical())
}

/// The peer with its port, and the address that it forwards for.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        match self.address {
            Some(address) if self.peer.map(|peer| peer.ip().to_canonical()) != Some(address) => {
                write!(f, "{address} via {peer}")
            }
            _ => f.write_str(&peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn client(proxies: &[&str], peer: &str, headers: &[&str]) -> Client {
        let mut request = TestRequest::get();
        if let Ok(peer) = peer.parse() {
            request = request.peer_addr(peer);
        }
        for header in headers {
            request = request.append_header(("x-forwarded-for", *header));
        }
        Proxies::parse(proxies).expect("blocks").client(&request.to_http_request())
    }

    #[test]
    fn the_last_address_before_trusted_proxies_is_the_client() {
        let trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "unix"];
        for (peer, headers, expected) in [
            ("127.0.0.1:1", &["192.0.2.1"][..], "192.0.2.1 via 127.0.0.1:1"),
            ("127.0.0.1:1", &["198.51.100.1, 192.0.2.1"], "192.0.2.1 via 127.0.0.1:1"),
            ("127.0.0.1:1", &["198.51.100.1", "192.0.2.1,10.1.2.3", "2001:db8::1"], "192.0.2.1 via 127.0.0.1:1"),
            ("[::ffff:127.0.0.1]:1", &["192.0.2.1:4711"], "192.0.2.1 via [::ffff:127.0.0.1]:1"),
            ("127.0.0.1:1", &["[2001:db9::1]:4711"], "2001:db9::1 via 127.0.0.1:1"),
            ("unix", &["192.0.2.1"], "192.0.2.1 via unknown"),
            // Without a header, or if it is not an address, the proxy itself is the client.
            ("127.0.0.1:1", &[], "127.0.0.1:1"),
            ("127.0.0.1:1", &["192.0.2.1, unknown"], "127.0.0.1:1"),
            ("127.0.0.1:1", &["unknown, 10.0.0.7"], "10.0.0.7 via 127.0.0.1:1"),
            ("unix", &[], "unknown"),
        ] {
            let client = client(&trusted, peer, headers);
            assert_eq!((client.to_string().as_str(), &client.unverified), (expected, &None), "{peer} {headers:?}");
        }
    }

    #[test]
    fn the_header_of_other_peers_is_not_trusted() {
        for (trusted, peer) in [(&[][..], "127.0.0.1:1"), (&["10.0.0.1"], "10.0.0.2:1"), (&["127.0.0.1"], "unix")] {
            let client = client(trusted, peer, &["192.0.2.1\tx"]);
            assert_eq!(client.address, peer.parse().ok().map(|peer: SocketAddr| peer.ip()));
            assert_eq!(client.unverified.as_deref(), Some("192.0.2.1\\tx"));
        }
    }
}
