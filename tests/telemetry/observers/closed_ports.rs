//! A listener that has stopped is closed: its port refuses connections.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use actix_acceptor::{
    telemetry::{Observer, PoolEvent},
    AcceptorPool, Listener, PoolHandle, SuspendMode,
};

use support::*;

/// Connects to each port that is reported as closed.
#[derive(Clone, Default)]
struct ConnectAttempts(Arc<Mutex<Vec<(SocketAddr, bool)>>>);

impl Observer for ConnectAttempts {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::ListenerStopped { address, .. } = event {
            let address = address.socket().unwrap();
            self.0.lock().unwrap().push((address, TcpStream::connect(address).is_ok()));
        }
    }
}

async fn pool() -> (PoolHandle, ConnectAttempts, SocketAddr) {
    let knocks = ConnectAttempts::default();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).observer(knocks.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap().untyped();
    let address = pool.local_addr().unwrap();
    (pool, knocks, address)
}

#[actix::test]
async fn reports_precede_closed_ports_in_a_suspension() {
    let (pool, knocks, address) = pool().await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(*knocks.0.lock().unwrap(), [(address, false)]);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn reports_precede_closed_ports_in_a_stop() {
    let (pool, knocks, address) = pool().await;
    in_time(pool.stop(None)).await;
    assert_eq!(*knocks.0.lock().unwrap(), [(address, false)]);
}

#[actix::test]
async fn reports_precede_closed_ports_in_a_change() {
    let (pool, knocks, address) = pool().await;
    in_time(pool.set_listeners(vec![Listener::tcp("127.0.0.1:0")])).await.unwrap();
    eventually(|| !knocks.0.lock().unwrap().is_empty()).await;
    assert_eq!(*knocks.0.lock().unwrap(), [(address, false)]);
    in_time(pool.stop(None)).await;
}
