//! A connection is an actor: it is found, told and asked by its address.

mod support;

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    AcceptorPool, Active, Address, Close, Conn, Connection, ConnectionId, EncodeOnce, Encoded, Framing, Info, Next,
    Pool, Protocol, Reason, Reply, SetActive, User,
};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio::sync::oneshot;
use tokio_util::codec::{Decoder, Encoder};

fn word(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn echo(call: &Call) -> Next<Probe> {
    match call {
        Call::Packet(bytes) | Call::User(bytes) => Next::Send(bytes.clone()),
        call => otherwise(call),
    }
}

async fn lines(
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
) -> (Pool<Connection<Probe>>, Diary) {
    let (builder, diary) = Probe::pool(act);
    (builder.framing(Framing::lines()).acceptors(1).bind("127.0.0.1:0").await.unwrap(), diary)
}

#[actix::test]
async fn the_address_is_there_before_the_first_packet_and_what_is_sent_before_ack_comes_after_it() {
    let (open, gate) = oneshot::channel::<()>();
    let gate = Mutex::new(Some(gate));
    let (said, heard) = std::sync::mpsc::channel();
    let (pool, mut diary) = lines(move |call, conn| match call {
        Call::Init => {
            conn.address().do_send(User(word("from init")));
            said.send(()).unwrap();
            let gate = gate.lock().unwrap().take().unwrap();
            conn.wait(gate, |_, _, _| Next::Continue)
        }
        call => echo(call),
    })
    .await;
    let mut peer = connect(&pool).await;
    assert_eq!(diary.next().await, Call::Init);
    let address = pool.addresses().remove(0).1;
    heard.recv().unwrap();
    address.do_send(User(word("from outside")));
    let asked = actix_rt::spawn(address.send(Info));
    open.send(()).unwrap();
    for call in [Call::Ack, Call::user("from init"), Call::user("from outside")] {
        assert_eq!(diary.next().await, call);
    }
    peer.expect(b"from init\nfrom outside\n").await;
    let info = soon(asked).await.unwrap().unwrap();
    assert_eq!((info.id, info.bytes_in), (pool.list()[0].id, 0));
    assert_eq!(info.peer, Address::Tcp(peer.address()));
    assert_eq!(&*info.listener, pool.name());
}

#[actix::test]
async fn replies_and_encoded_bytes_go_to_the_peer_and_close_comes_behind_them() {
    let (pool, mut diary) = lines(|call, _| echo(call)).await;
    let mut peer = connect(&pool).await;
    eventually(|| pool.addresses().len() == 1).await;
    let address = pool.addresses().remove(0).1;
    address.send(Reply(word("reply"))).await.unwrap().unwrap();
    address.send(Encoded(word("en\ncoded"))).await.unwrap().unwrap();
    address.do_send(Reply(word("last")));
    address.do_send(Close);
    address.do_send(Reply(word("too late")));
    assert_eq!(peer.read_to_end().await, b"reply\nen\ncodedlast\n");
    assert_eq!(diary.closed().await.0, Reason::Local);
    assert_eq!(diary.so_far(), []);
}

#[actix::test]
async fn the_active_mode_is_set_by_message() {
    let (pool, mut diary) = lines(|call, _| otherwise(call)).await;
    let mut peer = connect(&pool).await;
    diary.until(&Call::Ack).await;
    let address = pool.addresses().remove(0).1;
    address.send(SetActive(Active::Passive)).await.unwrap();
    peer.send("1\n2\n3\n").await;
    address.send(SetActive(Active::Once)).await.unwrap();
    assert_eq!(diary.next().await, Call::packet("1"));
    address.send(Info).await.unwrap();
    assert_eq!(diary.so_far(), []);
    address.send(SetActive(Active::Always)).await.unwrap();
    assert_eq!(diary.next().await, Call::packet("2"));
    assert_eq!(diary.next().await, Call::packet("3"));
}

#[actix::test]
async fn whoever_still_asks_at_the_end_is_told() {
    let (pool, mut diary) = lines(|call, conn| match call {
        Call::Packet(_) => conn.wait(pending::<()>(), |(), _, _| Next::Continue),
        call => otherwise(call),
    })
    .await;
    let mut peer = connect(&pool).await;
    peer.send("wait\n").await;
    diary.until(&Call::packet("wait")).await;
    let (id, address) = pool.addresses().remove(0);
    let asked: Vec<_> = (0..100).map(|_| actix_rt::spawn(address.clone().send(Info))).collect();
    assert!(pool.kill(id));
    for asked in asked {
        assert!(matches!(soon(asked).await.unwrap(), Err(MailboxError::Closed)));
    }
    assert!(matches!(address.send(Info).await, Err(MailboxError::Closed)));
    assert!(matches!(address.try_send(Close), Err(SendError::Closed(_))));
    assert!(!address.connected());
    eventually(|| pool.find(id).is_none() && pool.addresses().is_empty()).await;
}

/// A pool of connections that wait from their first packet on, so that their mailboxes fill.
async fn waiting(
    capacity: usize,
    connections: usize,
) -> (Pool<Connection<Probe>>, Vec<Peer>, Arc<tokio::sync::Notify>) {
    let release = Arc::new(tokio::sync::Notify::new());
    let released = release.clone();
    let (builder, mut diary) = Probe::pool(move |call, conn| match call {
        Call::Packet(_) => {
            let released = released.clone();
            conn.wait(async move { released.notified().await }, |(), _, _| Next::Continue)
        }
        call => echo(call),
    });
    let builder = builder.framing(Framing::lines()).acceptors(1).mailbox_capacity(capacity);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..connections {
        peers.push(connect(&pool).await);
        peers.last_mut().unwrap().send("wait\n").await;
        diary.until(&Call::packet("wait")).await;
    }
    (pool, peers, release)
}

#[actix::test]
async fn a_mailbox_holds_what_it_was_made_for() {
    let (pool, mut peers, release) = waiting(7, 1).await;
    let address = pool.addresses().remove(0).1;
    let taken = (0..100).take_while(|_| address.try_send(User(word("m"))).is_ok()).count();
    assert_eq!(taken, 7);
    assert!(matches!(address.try_send(Close), Err(SendError::Full(Close))));
    address.do_send(User(word("n")));
    release.notify_one();
    peers[0].expect(b"m\nm\nm\nm\nm\nm\nm\nn\n").await;
    address.try_send(Close).unwrap();
    assert_eq!(peers[0].read_to_end().await, b"");
}

#[actix::test]
async fn a_message_to_all_reports_the_full_mailboxes() {
    let (pool, mut peers, release) = waiting(3, 2).await;
    let mut free = connect(&pool).await;
    eventually(|| pool.addresses().len() == 3).await;
    let ids: Vec<ConnectionId> = pool.list().iter().map(|connection| connection.id).collect();
    for number in 0..3 {
        let delivered = pool.tell_all(word("all"));
        assert_eq!((delivered.taken, delivered.full), (3, vec![]), "{number}");
        free.expect(b"all\n").await;
    }
    for _ in 0..100 {
        let delivered = pool.tell_all(word("more"));
        assert_eq!((delivered.taken, &delivered.full[..]), (1, &ids[..2]));
        let delivered = pool.send_to_all(word("more")).unwrap();
        assert_eq!((delivered.taken, &delivered.full[..]), (1, &ids[..2]));
        free.expect(b"more\nmore\n").await;
    }
    release.notify_waiters();
    for peer in &mut peers {
        peer.expect(b"all\nall\nall\n").await;
    }
    assert_eq!(pool.tell_all(word("again")).taken, 3);
    for peer in peers.iter_mut().chain([&mut free]) {
        peer.expect(b"again\n").await;
    }
}

#[actix::test]
async fn connections_are_found_listed_and_ended_by_number() {
    let (pool, mut diary) = lines(|call, _| echo(call)).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(connect(&pool).await);
        diary.until(&Call::Ack).await;
    }
    let list = pool.list();
    let addresses = pool.addresses();
    assert_eq!(addresses.iter().map(|(id, _)| id.get()).collect::<Vec<_>>(), [1, 2, 3]);
    for (entry, peer) in list.iter().zip(&peers) {
        assert_eq!(entry.peer, Address::Tcp(peer.address()));
        let found = pool.find(entry.id).unwrap();
        assert_eq!(found.send(Info).await.unwrap().peer, entry.peer);
    }
    assert!(pool.find(ConnectionId::from(4)).is_none());
    pool.find(list[1].id).unwrap().do_send(User(word("you")));
    peers[1].expect(b"you\n").await;
    assert!(pool.kill(list[1].id));
    assert_eq!(peers[1].until_gone().await, b"");
    eventually(|| pool.addresses().len() == 2).await;
    assert_eq!(pool.send_to_all(word("left")).unwrap().taken, 2);
    peers[0].expect(b"left\n").await;
    peers[2].expect(b"left\n").await;
}

/// Counts what it encodes, over all connections.
#[derive(Default)]
struct Counting;

static ENCODED: AtomicUsize = AtomicUsize::new(0);

impl EncodeOnce for Counting {}

impl Decoder for Counting {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Bytes>> {
        Ok(Some(src.split().freeze()).filter(|packet| !packet.is_empty()))
    }
}

impl Encoder<u32> for Counting {
    type Error = io::Error;

    fn encode(&mut self, number: u32, dst: &mut BytesMut) -> io::Result<()> {
        ENCODED.fetch_add(1, Relaxed);
        if number == 0 {
            return Err(io::Error::other("nought"));
        }
        dst.extend_from_slice(format!("<{number}>").as_bytes());
        Ok(())
    }
}

struct Told;

impl Protocol for Told {
    type Codec = Counting;
    type Reply = u32;
    type User = ();

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }
}

#[actix::test]
async fn what_is_sent_to_all_is_encoded_once() {
    let pool = AcceptorPool::protocol(|_| Told).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(connect(&pool).await);
    }
    eventually(|| pool.addresses().len() == 20).await;
    assert_eq!(pool.send_to_all(12).unwrap().taken, 20);
    for peer in &mut peers {
        peer.expect(b"<12>").await;
    }
    assert_eq!(ENCODED.load(Relaxed), 1);
    assert_eq!(pool.send_to_all(0).unwrap_err().to_string(), "nought");
    assert_eq!(pool.send_to_all(3).unwrap().taken, 20);
    for peer in &mut peers {
        peer.expect(b"<3>").await;
    }
}

#[actix::test]
async fn a_connection_knows_who_and_where_it_is() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (builder, _diary) = Probe::pool(move |call, conn| {
        if *call == Call::Init {
            let places = (conn.peer().clone(), conn.local_addr().unwrap());
            let _ = tell.send((conn.id(), places, conn.transport(), conn.listener().to_owned()));
        }
        otherwise(call)
    });
    let pool = builder.name("the hall").acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let peer = connect(&pool).await;
    let (id, (theirs, ours), kind, listener) = soon(told.recv()).await.unwrap();
    assert_eq!((id.get(), theirs, ours), (1, Address::Tcp(peer.address()), pool.local_addrs()[0].clone()));
    assert_eq!((kind, &*listener), (actix_acceptor::transport::Kind::Tcp, "the hall"));
}

/// An address that nobody holds for a while works again: nothing is lost between.
#[actix::test]
async fn addresses_may_come_and_go() {
    let (pool, mut diary) = lines(|call, _| echo(call)).await;
    let mut peer = connect(&pool).await;
    diary.until(&Call::Ack).await;
    for _ in 0..50 {
        pool.addresses().remove(0).1.do_send(User(word("hello")));
        peer.expect(b"hello\n").await;
        soon(pool.addresses().remove(0).1.send(Info)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.connections(), 1);
}
