//! The one clock of a pool: that of tokio, which a test can pause and move.

use std::time::Duration;

use actix_acceptor::transport::Memory;
use actix_acceptor::AcceptorPool;
use support::*;

#[actix::test]
async fn a_connection_is_not_idle_for_longer_than_it_is_old() {
    let (memory, connector) = Memory::new("test");
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(actix_acceptor::Framing::raw());
    let pool = in_time(builder.acceptors(1).listen(memory)).await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..30 {
        let mut peer = Peer(in_time(connector.connect()).await.unwrap());
        peer.echo("x").await;
        for connection in pool.list() {
            assert!(connection.idle <= connection.age, "{connection:?}");
        }
        peers.push(peer);
        pass(ms(7)).await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}
