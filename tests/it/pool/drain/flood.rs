//! Peers that keep arriving while a port closes.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_acceptor::{
    limits::BacklogPolicy,
    transport::{Accept, Accepted, Address, Stream, Transport},
    AcceptorPool, Drain,
};
use support::*;
use tokio::io::duplex;

/// A transport with a peer whenever one is asked for, and how many of its handles are open.
#[derive(Clone, Default)]
struct Flood {
    accepted: Arc<AtomicUsize>,
    handles: Arc<AtomicUsize>,
}

struct FloodHandle(Flood);

impl Transport for Flood {
    fn local_addr(&self) -> Address {
        Address::Other("flood".into())
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        self.handles.fetch_add(1, SeqCst);
        Ok(Box::new(FloodHandle(self.clone())))
    }
}

impl Accept for FloodHandle {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        self.0.accepted.fetch_add(1, SeqCst);
        Ok(Accepted { stream: Stream::other(duplex(64).0), peer: Address::Other("one of many".into()) })
    }
}

impl Drop for FloodHandle {
    fn drop(&mut self) {
        self.0.handles.fetch_sub(1, SeqCst);
    }
}

#[actix::test]
async fn a_flood_of_peers_does_not_hold_up_a_drain() {
    for backlog in [BacklogPolicy::Accept, BacklogPolicy::Refuse] {
        let flood = Flood::default();
        let pool = AcceptorPool::with_protocol(|_| Echo).max_connections(1).acceptors(2).watchdog(None);
        let pool = pool.listen(flood.clone()).await.unwrap();
        let report = in_time(pool.drain(Drain::grace(ms(100)).backlog_on_close(backlog))).await;
        assert!(report.took < Duration::from_secs(3), "{:?}", report.took);
        assert!(report.unserved > 32, "{}", report.unserved);
        eventually(|| flood.handles.load(SeqCst) == 0).await;
        let accepted = flood.accepted.load(SeqCst);
        pass(ms(100)).await;
        assert_eq!(flood.accepted.load(SeqCst), accepted);
    }
}
