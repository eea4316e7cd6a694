//! The shortest and the longest packets, and those beyond, in both directions.

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{Reply, SendError, StartError, User};

use super::*;

#[actix::test]
async fn empty_packets_and_those_of_maximum_length_work() {
    const MAX: usize = 200;
    for framing in framings() {
        let (builder, mut notes) = reporting_pool(framing.clone(), false);
        let pool = builder.max_frame(MAX).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let longest = Bytes::from(vec![b'm'; MAX]);
        for packet in [Bytes::new(), longest.clone(), Bytes::new(), longest] {
            peer.echo(wire(&framing, [&packet])).await;
            notes.expect(Note::Packet(packet)).await;
        }
    }
}

#[actix::test]
async fn the_longest_packet_of_a_prefix_works() {
    for (framing, max) in [(Framing::len1(), 255), (Framing::len2(), 65_535), (Framing::len4(), 1 << 20)] {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        let packet = Bytes::from(vec![b'm'; max]);
        peer.echo(wire(&framing, [&packet])).await;
        notes.expect(Note::Packet(packet)).await;
    }
}

#[actix::test]
async fn queued_replies_are_sent_before_a_too_long_packet_ends() {
    const MAX: usize = 200;
    for framing in framings() {
        let (builder, mut notes) = reporting_pool(framing.clone(), false);
        let pool = builder.max_frame(MAX).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let over = vec![b'm'; MAX + 1];
        peer.send(wire(&framing, [&b"good"[..], &over, b"too late"])).await;
        assert_eq!(peer.read_to_end().await, wire(&framing, ["good"]), "{framing}");
        notes.expect(Note::Packet("good".into())).await;
        notes.expect(Note::TooLong(MAX as u64 + 1, MAX as u64)).await;
        eventually(|| pool.info().closed.get(CloseReason::TooLong) == 1).await;
    }
}

#[actix::test]
async fn a_prefix_alone_is_enough_to_be_too_long() {
    for framing in framings().into_iter().filter(is_prefixed) {
        let (builder, mut notes) = reporting_pool(framing.clone(), false);
        let pool = builder.max_frame(100).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let announced = wire(&framing, [vec![0; 250]]);
        peer.send(&announced[..announced.len() - 250]).await;
        assert_eq!(peer.read_to_end().await, b"", "{framing}");
        notes.expect(Note::TooLong(250, 100)).await;
    }
}

#[actix::test]
async fn the_default_limit_is_one_mebibyte() {
    let (pool, mut notes) = bound(Framing::len4()).await;
    let mut peer = connect(&pool).await;
    peer.send(((1u32 << 20) + 1).to_be_bytes()).await;
    assert_eq!(peer.read_to_end().await, b"");
    notes.expect(Note::TooLong((1 << 20) + 1, 1 << 20)).await;
}

#[actix::test]
async fn raw_is_cut_at_the_limit_and_nothing_is_lost() {
    let (builder, mut notes) = reporting_pool(Framing::raw(), false);
    let pool = builder.max_frame(4).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("abcdefghij").await;
    for packet in ["abcd", "efgh", "ij"] {
        notes.expect(Note::Packet(packet.into())).await;
    }
}

#[actix::test]
async fn a_limit_of_0_is_refused() {
    let refused = reporting_pool(Framing::lines(), false).0.max_frame(0).bind("127.0.0.1:0").await.unwrap_err();
    assert!(matches!(refused, StartError::InvalidSetting(InvalidSetting { setting: "max_frame", .. })), "{refused:?}");
}

/// Answers a packet with as many bytes as it says, by `conn.send`; with a `!` before the number by `Next::Send`.
struct Sized(UnboundedSender<Result<(), SendError>>, Recorder);

impl Protocol for Sized {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let asked = std::str::from_utf8(&packet).unwrap();
        let reply = |length: &str| Bytes::from(vec![b'r'; length.parse().unwrap()]);
        match asked.strip_prefix('!') {
            Some(length) => Next::Send(reply(length)),
            None => {
                let unsent = conn.unsent();
                let sent = conn.send(reply(asked));
                assert!(sent.is_ok() || conn.unsent() == unsent, "a part of it was queued");
                self.0.send(sent).unwrap();
                Next::Continue
            }
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.1.note(why);
    }
}

#[actix::test]
async fn a_reply_too_long_for_its_prefix_fails_only_the_send() {
    let ((sent, mut outcomes), (recorder, mut closings)) = (unbounded_channel(), Recorder::new());
    let pool = AcceptorPool::with_protocol(move |_| Sized(sent.clone(), recorder.clone()));
    let pool = pool.framing(Framing::len1()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let framing = Framing::len1();
    peer.send(wire(&framing, ["256", "255", "300"])).await;
    peer.expect(&wire(&framing, [[b'r'; 255]])).await;
    let mut outcome = async || in_time(outcomes.recv()).await.unwrap();
    assert!(matches!(outcome().await, Err(SendError::TooLong { length: 256, limit: 255 })));
    assert!(outcome().await.is_ok());
    assert!(matches!(outcome().await, Err(SendError::TooLong { length: 300, limit: 255 })));
    // By message as well.
    let address = pool.find(pool.list()[0].id).unwrap();
    let answer = in_time(address.send(Reply(Bytes::from(vec![b'r'; 256])))).await.unwrap();
    assert!(matches!(answer, Err(SendError::TooLong { length: 256, limit: 255 })));
    peer.send(wire(&framing, ["2"])).await;
    peer.expect(b"\x02rr").await;
    // As a `Next` it ends the connection: the error has no other receiver.
    peer.send(wire(&framing, ["1", "!256"])).await;
    assert_eq!(peer.read_to_end().await, b"\x01r");
    assert_eq!(closings.reason().await, CloseReason::Error);
}

/// Answers a packet with the text behind its first byte: by `conn.send`, or by `Next::Send` if that byte is `!`.
struct Texts(UnboundedSender<Result<(), SendError>>, Recorder);

impl Protocol for Texts {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }

    fn user(&mut self, mut text: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if text.split_to(1) == "!" {
            return Next::Send(text);
        }
        let unsent = conn.unsent();
        let sent = conn.send(text);
        assert!(sent.is_ok() || conn.unsent() == unsent, "a part of it was queued");
        self.0.send(sent).unwrap();
        Next::Continue
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.1.note(why);
    }
}

#[actix::test]
async fn a_reply_with_the_delimiter_inside_is_not_sent() {
    let cases = [
        (Framing::lines(), "two\nlines", 3, "carriage\rreturn\r"),
        (Framing::lines(), "line\n", 4, ""),
        (Framing::delimiter(";;"), "a;;b", 1, "a;b"),
        // The first occurrence on the wire would be one byte early.
        (Framing::delimiter(";;"), "ab;", 2, "a;b"),
    ];
    for (framing, bad, at, good) in cases {
        let ((sent, mut outcomes), (recorder, mut closings)) = (unbounded_channel(), Recorder::new());
        let pool = AcceptorPool::with_protocol(move |_| Texts(sent.clone(), recorder.clone()));
        let pool = pool.framing(framing.clone()).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        eventually(|| pool.connections() == 1).await;
        let address = pool.find(pool.list()[0].id).unwrap();
        let mut sends = async |text: &str| {
            in_time(address.send(User(Bytes::from(format!(".{text}"))))).await.unwrap();
            in_time(outcomes.recv()).await.unwrap()
        };
        let is_refused = |sent| matches!(sent, Err(SendError::Delimiter { position }) if position == at);
        assert!(is_refused(sends(bad).await), "{framing}: {bad:?}");
        assert!(sends(good).await.is_ok(), "{framing}: {good:?}");
        assert!(is_refused(in_time(address.send(Reply(bad.into()))).await.unwrap()));
        assert!(is_refused(pool.broadcast(bad.into()).map(drop)));
        // As a `Next` it ends the connection, after what was sent before.
        in_time(address.send(User(Bytes::from(format!("!{bad}"))))).await.unwrap();
        assert_eq!(peer.read_to_end().await, wire(&framing, [good]));
        assert_eq!(closings.reason().await, CloseReason::Error);
        in_time(pool.stop(None)).await;
    }
}
