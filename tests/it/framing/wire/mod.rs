//! Framing over real sockets: what goes in at one end comes out at the other, and what happens when it does not fit.

mod codecs;
mod condor;
mod ends;
mod foreign;
mod limits;

use std::sync::{Arc, OnceLock};

use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, Builder, Closed, Conn, Connection, ConnectionInfo,
    Framing, Next, Pool, PoolHandle, Protocol, Timeout,
};
use bytes::{Bytes, BytesMut};
use support::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio_util::codec::Encoder;

/// What a [`ReportingProtocol`] saw.
#[derive(Debug, PartialEq)]
enum Note {
    Packet(Bytes),
    Idle,
    /// A packet timed out, with so much of it received.
    Partial(Bytes),
    HalfClosed,
    TooLong(u64, u64),
    Closed(CloseReason),
}

/// Takes down all that happens, and sends packets back. `quit` ends it with a `bye`.
struct ReportingProtocol {
    notes: UnboundedSender<Note>,
    /// Whether a timeout is survived.
    patient: bool,
}

impl Protocol for ReportingProtocol {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        let next = match &packet[..] {
            b"quit" => Next::SendAndStop(Bytes::from_static(b"bye")),
            _ => Next::Send(packet.clone()),
        };
        self.notes.send(Note::Packet(packet)).unwrap();
        next
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        let note = match timeout {
            Timeout::Packet(partial) => Note::Partial(partial),
            _ => Note::Idle,
        };
        self.notes.send(note).unwrap();
        if self.patient {
            Next::Continue
        } else {
            Next::Stop
        }
    }

    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.notes.send(Note::HalfClosed).unwrap();
        Next::Continue
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        let _ = self.notes.send(match why {
            Closed::TooLong { length, limit } => Note::TooLong(*length, *limit),
            why => Note::Closed(why.reason()),
        });
    }
}

/// What witnesses saw, one after the other.
struct Notes(UnboundedReceiver<Note>);

impl Notes {
    async fn next(&mut self) -> Note {
        in_time(self.0.recv()).await.expect("somebody who takes notes")
    }

    #[track_caller]
    fn expect(&mut self, expected: Note) -> impl std::future::Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let note = self.next().await;
            assert!(note == expected, "{caller}: {note:?} instead of {expected:?}");
        }
    }
}

fn reporting_pool(framing: Framing, patient: bool) -> (Builder<ProtocolService<ReportingProtocol>>, Notes) {
    let (notes, seen) = unbounded_channel();
    let builder = AcceptorPool::with_protocol(move |_| ReportingProtocol { notes: notes.clone(), patient });
    (builder.framing(framing).acceptors(1), Notes(seen))
}

async fn bound(framing: Framing) -> (Pool<Connection<ReportingProtocol>>, Notes) {
    let (builder, notes) = reporting_pool(framing, false);
    (builder.bind("127.0.0.1:0").await.unwrap(), notes)
}

/// Every framing that knows where a packet ends.
fn framings() -> Vec<Framing> {
    let mut all: Vec<Framing> = ["lines", "len1", "len2", "len4", "len8"].map(|name| name.parse().unwrap()).into();
    all.push(Framing::delimiter("\r\n.\r\n"));
    all
}

fn is_prefixed(framing: &Framing) -> bool {
    framing.to_string().starts_with("len")
}

/// Packets as they go over the wire.
fn wire<P: AsRef<[u8]>>(framing: &Framing, packets: impl IntoIterator<Item = P>) -> Vec<u8> {
    let (mut framing, mut wire) = (framing.clone(), BytesMut::new());
    for packet in packets {
        framing.encode(Bytes::copy_from_slice(packet.as_ref()), &mut wire).unwrap();
    }
    wire.to_vec()
}

/// Waits until the only connection has read so much: what is sent after that comes in another read.
async fn has_read<A>(pool: &Pool<A>, bytes: usize) {
    eventually(|| pool.list().first().is_some_and(|connection| connection.bytes_in == bytes as u64)).await;
}

#[actix::test]
async fn every_framing_is_chosen_at_run_time_and_speaks_both_ways() {
    for framing in framings().into_iter().chain([Framing::raw()]) {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        for packet in ["hello", "w\0rld", "\u{e9}\r"] {
            // A CR at its end is the line's.
            let taken = if framing.to_string() == "lines" { packet.trim_end_matches('\r') } else { packet };
            peer.send(wire(&framing, [packet])).await;
            notes.expect(Note::Packet(Bytes::from(taken))).await;
            peer.expect(&wire(&framing, [taken])).await;
        }
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, b"", "{framing}");
        in_time(pool.stop(None)).await;
    }
}

/// Asks the pool, at every packet, how many bytes have been read.
struct Reader {
    pool: Arc<OnceLock<PoolHandle>>,
    gate: std::sync::mpsc::Receiver<()>,
    read: UnboundedSender<u64>,
}

impl Protocol for Reader {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        if packet == "hold" {
            self.gate.recv_timeout(TIME_LIMIT).unwrap();
        }
        self.read.send(self.pool.wait().list()[0].bytes_in).unwrap();
        Next::Continue
    }
}

#[actix::test]
async fn whole_packets_are_delivered_before_the_next_read() {
    // More than a turn delivers, in less than a read brings.
    const PACKETS: usize = 300;
    let (handle, (read, mut bytes_read)) = (Arc::<OnceLock<PoolHandle>>::default(), unbounded_channel());
    let (open, gate) = std::sync::mpsc::channel();
    let (pool_of, gate) = (handle.clone(), std::sync::Mutex::new(Some(gate)));
    let reader =
        move |_: &_| Reader { pool: pool_of.clone(), gate: gate.lock().unwrap().take().unwrap(), read: read.clone() };
    let pool = AcceptorPool::with_protocol(reader).framing(Framing::len2()).acceptors(1);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    handle.set(pool.untyped()).unwrap();
    let mut peer = connect(&pool).await;
    let first = wire(&Framing::len2(), std::iter::once("hold").chain((1..PACKETS).map(|_| "x")));
    peer.send(&first).await;
    has_read(&pool, first.len()).await;
    // The connection blocks its thread in the first packet: these bytes lie in the socket when it goes on.
    peer.send(wire(&Framing::len2(), ["later"])).await;
    open.send(()).unwrap();
    for number in 0..PACKETS {
        assert_eq!(in_time(bytes_read.recv()).await, Some(first.len() as u64), "packet {number}");
    }
    assert_eq!(in_time(bytes_read.recv()).await, Some(first.len() as u64 + 7));
}
