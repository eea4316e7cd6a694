//! What `list` says about the acceptor and the TLS of a connection.

use actix_acceptor::tls::TlsInfo;
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, Stream};
use actix_acceptor::{AcceptorPool, Listener};
use futures::future::LocalBoxFuture;
use support::*;

/// Pretends to be TLS.
struct Pretended(Option<&'static str>);

impl Handshake for Pretended {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let mut tls = TlsInfo::default();
        (tls.version, tls.alpn) = ("TLSv1.3".to_owned(), self.0.map(str::to_owned));
        Box::pin(async { Ok(Handshaken::new(stream).with_tls(tls)) })
    }
}

#[actix::test]
async fn a_listed_connection_has_its_acceptor_and_tls() {
    let listener = |name: &str| Listener::tcp("127.0.0.1:0").name(name);
    let listeners = [
        listener("plain"),
        listener("tls").handshake(Pretended(None)),
        listener("alpn").handshake(Pretended(Some("h2"))),
    ];
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2);
    let pool =
        listeners.into_iter().fold(builder, |builder, listener| builder.listener(listener)).start().await.unwrap();
    let mut peers = Vec::new();
    for address in pool.local_addrs() {
        let address = address.socket().unwrap();
        let mut peer = Peer(in_time(tokio::net::TcpStream::connect(address)).await.unwrap());
        peer.echo("hello").await;
        peers.push(peer);
    }
    let list = pool.list();
    let tls: Vec<_> =
        list.iter().map(|info| info.tls.as_ref().map(|tls| (&*tls.version, tls.alpn.as_deref()))).collect();
    assert_eq!(tls, [None, Some(("TLSv1.3", None)), Some(("TLSv1.3", Some("h2")))]);
    assert_eq!(pool.connection_info(list[2].id).unwrap().tls, list[2].tls);
    for acceptor in pool.info().acceptors {
        let listed = list.iter().filter(|info| info.acceptor == acceptor.id).count();
        assert_eq!(listed as u64, acceptor.connections, "{list:?}");
    }
    in_time(pool.stop(None)).await;
}
