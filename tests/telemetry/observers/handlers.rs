//! The four handlers cause the same events.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    handlers::Service,
    telemetry::{CloseReason, Observer, PoolEvent},
    AcceptorPool, Event, Framing, Init, Next, PoolHandle, Socket,
};
use tokio::io::AsyncWriteExt;

use support::*;

fn pair() -> actix_acceptor::Builder<impl Service> {
    let on_event = |_: &mut (), event: Event<actix_acceptor::handlers::EventLoop<()>>, _: &mut _| match event {
        Event::Packet(packet) => Next::Send(packet),
        event => event.default_next(),
    };
    AcceptorPool::with_events(|_| Init::new(()), on_event).framing(Framing::lines())
}

/// A pool with each handler, and the number of packets that two lines are there.
async fn with_every_handler<O: Observer + Clone>(observer: impl Fn() -> O) -> Vec<(&'static str, PoolHandle, O, u64)> {
    async fn open<D: Service, O: Observer + Clone>(
        builder: actix_acceptor::Builder<D>,
        observer: O,
    ) -> (PoolHandle, O) {
        let builder = builder.acceptors(1).observer(observer.clone());
        (builder.bind("127.0.0.1:0").await.unwrap().untyped(), observer)
    }
    let protocol = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines());
    let (a, b) = (open(protocol, observer()).await, open(pair(), observer()).await);
    let c = open(AcceptorPool::with_fn(echo), observer()).await;
    let d = open(AcceptorPool::with_actor(|socket| Ok(SocketActor::start(socket, echo))), observer()).await;
    let handlers = [("protocol", a, 2), ("events", b, 2), ("serve", c, 0), ("start", d, 0)];
    handlers.into_iter().map(|(handler, (pool, observer), packets)| (handler, pool, observer, packets)).collect()
}

#[actix::test]
async fn connection_events_carry_all_counters() {
    for (handler, pool, observer, packets) in with_every_handler(EventRecorder::new).await {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        peer.echo("there\n").await;
        let list = pool.list();
        assert_eq!((list.len(), list[0].bytes_in, list[0].packets), (1, 12, packets), "{handler}");
        peer.finish().await;
        assert_eq!(peer.until_gone().await, b"", "{handler}");
        eventually(|| observer.ends().len() == 1).await;
        let (id, peer, listener) = (1, peer.address().to_string(), pool.name().to_owned());
        let who = ConnectionKey { id, peer, listener };
        let (seen, end) = (observer.connections(), observer.ends().remove(0).1);
        assert_eq!(
            seen,
            [
                RecordedEvent::Started(who.clone()),
                RecordedEvent::Ready(who.clone()),
                RecordedEvent::Stopped(who, end.clone())
            ]
        );
        assert_eq!(
            (end.reason, end.bytes_in, end.bytes_out, end.packets),
            (CloseReason::Peer, 12, 12, packets),
            "{handler}"
        );
        in_time(pool.stop(None)).await;
    }
}

/// An actor that no connection comes to.
type NeverStarted = SocketActor<fn(Socket) -> std::future::Ready<()>>;

#[actix::test]
async fn handler_failures_are_reported_with_their_reason() {
    async fn one<D: Service>(builder: actix_acceptor::Builder<D>) -> CloseReason {
        let observer = EventRecorder::new();
        let pool = builder.acceptors(1).observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let _ = peer.0.write_all(b"hello\n").await;
        peer.until_gone().await;
        eventually(|| observer.ends().len() == 1).await;
        in_time(pool.stop(None)).await;
        let seen = observer.connections();
        assert!(
            matches!(seen.first(), Some(RecordedEvent::Started(_)))
                && matches!(seen.last(), Some(RecordedEvent::Stopped(..)))
        );
        assert_eq!(observer.ends().len(), 1, "{seen:?}");
        observer.ends()[0].1.reason
    }
    assert_eq!(one(AcceptorPool::with_protocol(|_| -> Echo { panic!("as asked") })).await, CloseReason::Panic);
    let panics = |_: Socket| async { assert_eq!("as asked", "", "by a panic") };
    assert_eq!(one(AcceptorPool::with_fn(panics)).await, CloseReason::Panic);
    let fails = |_| async { Err::<(), _>(std::io::Error::other("as asked")) };
    assert_eq!(one(AcceptorPool::with_fn(fails)).await, CloseReason::Error);
    assert_eq!(
        one(AcceptorPool::with_actor(|_| -> Result<Addr<NeverStarted>, _> { Err("as asked".into()) })).await,
        CloseReason::Error
    );
    assert_eq!(
        one(AcceptorPool::with_actor(|_| -> Result<Addr<NeverStarted>, _> { panic!("as asked") })).await,
        CloseReason::Panic
    );
}

/// Looks, when a connection has stopped, whether its peer can see that.
#[derive(Clone, Default)]
struct ClosedAtPeer {
    peer: Arc<Mutex<Option<TcpStream>>>,
    saw: Arc<Mutex<Option<String>>>,
}

impl Observer for ClosedAtPeer {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::ConnectionStopped { .. } = event {
            let mut peer = self.peer.lock().unwrap().take().unwrap();
            peer.set_nonblocking(false).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let saw = match peer.read(&mut [0; 64]) {
                Ok(0) => "closed".to_owned(),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => "closed".to_owned(),
                other => format!("{other:?}"),
            };
            *self.saw.lock().unwrap() = Some(saw);
        }
    }
}

#[actix::test]
async fn stopped_is_reported_before_the_socket_closes() {
    for (handler, pool, observer, _) in with_every_handler(ClosedAtPeer::default).await {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        let own = socket2::SockRef::from(&peer.0).try_clone().unwrap();
        *observer.peer.lock().unwrap() = Some(own.into());
        assert!(pool.kill(pool.list()[0].id));
        eventually(|| observer.saw.lock().unwrap().is_some()).await;
        assert_eq!(observer.saw.lock().unwrap().as_deref(), Some("closed"), "{handler}");
        in_time(pool.stop(None)).await;
    }
}
