//! A connection that stops its own pool, and waits for it.

use std::sync::{Arc, OnceLock};

use actix_acceptor::{info::Status, AcceptorPool, Conn, Drain, Framing, Next, PoolHandle, Protocol, Socket};
use bytes::Bytes;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Stops its pool at `stop`, without a deadline, and then says `stopped`.
struct Stopper(Arc<OnceLock<PoolHandle>>);

impl Protocol for Stopper {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if packet != "stop" {
            return Next::Send(packet);
        }
        let pool = self.0.get().unwrap().clone();
        conn.wait(async move { pool.stop(None).await }, |report, _, _| {
            Next::Send(Bytes::from(format!("stopped, {} asked", report.asked)))
        })
    }
}

#[actix::test]
async fn a_connection_may_wait_for_the_stop_of_its_pool() {
    for acceptors in [1, 2] {
        let own = Arc::new(OnceLock::new());
        let pool = AcceptorPool::with_protocol({
            let own = own.clone();
            move |_| Stopper(own.clone())
        });
        let pool = pool.framing(Framing::lines()).acceptors(acceptors).bind("127.0.0.1:0").await.unwrap();
        own.set(pool.untyped()).unwrap();
        let (mut first, mut second, mut third) = (connect(&pool).await, connect(&pool).await, connect(&pool).await);
        for peer in [&mut first, &mut second, &mut third] {
            peer.echo("hello\n").await;
        }
        first.send("stop\n").await;
        // It has begun: the one that does not wait has ended. The second waits as well, and is not waited for.
        second.send("stop\n").await;
        assert_eq!(third.read_to_end().await, b"");
        let _ = in_time(pool.stopped()).await;
        assert_eq!(pool.status(), Status::Ended);
        assert_eq!(first.read_to_end().await, b"stopped, 3 asked\n");
        let second = second.until_gone().await;
        assert!(second.is_empty() || second == b"stopped, 3 asked\n", "{}", second.escape_ascii());
    }
}

#[actix::test]
async fn connections_that_wait_for_each_others_stop_all_end() {
    let own = Arc::new(OnceLock::new());
    let pool = AcceptorPool::with_protocol({
        let own = own.clone();
        move |_| Stopper(own.clone())
    });
    let pool = pool.framing(Framing::lines()).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    own.set(pool.untyped()).unwrap();
    let mut peers = vec![connect(&pool).await, connect(&pool).await, connect(&pool).await];
    for peer in &mut peers {
        peer.echo("hello\n").await;
    }
    // The delay lets all of them ask before any is asked to leave.
    let draining = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.drain(Drain::grace(None).delay(TIME_LIMIT * 10)).await }
    });
    for peer in &mut peers {
        peer.send("stop\n").await;
    }
    assert_eq!(in_time(draining).await.unwrap().asked, 3);
    for peer in &mut peers {
        peer.until_gone().await;
    }
    assert_eq!(pool.info().closed.total(), 3);
}

#[actix::test]
async fn an_async_fn_may_wait_for_the_stop_of_its_pool() {
    let own = Arc::new(OnceLock::<PoolHandle>::new());
    let pool = AcceptorPool::with_fn({
        let own = own.clone();
        move |mut socket: Socket| {
            let pool = own.get().unwrap().clone();
            async move {
                socket.read_exact(&mut [0; 4]).await?;
                pool.stop(None).await;
                socket.write_all(b"stopped").await
            }
        }
    });
    let pool = pool.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    own.set(pool.untyped()).unwrap();
    let mut peer = connect(&pool).await;
    peer.send("stop").await;
    assert_eq!(peer.read_to_end().await, b"stopped");
    in_time(pool.stopped()).await.unwrap();
    // From outside nothing has changed: it returns when the pool has ended.
    assert_eq!(in_time(pool.stop(None)).await.asked, 1);
}
