//! What condor's own tests show, as far as its README tells of them.

use std::time::{Duration, Instant};

use super::*;

const LIMIT: Duration = Duration::from_millis(200);

#[actix::test]
async fn frames_of_1_and_30_kib_arrive_whole() {
    for framing in framings().into_iter().filter(|framing| framing.to_string() != "len1") {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        for length in [1024, 30 * 1024] {
            let packet: Bytes = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
            peer.echo(wire(&framing, [&packet])).await;
            notes.expect(Note::Packet(packet)).await;
        }
    }
}

#[actix::test]
async fn two_frames_in_one_segment_are_two_packets() {
    for framing in framings() {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        peer.echo(wire(&framing, ["one", "two"])).await;
        notes.expect(Note::Packet("one".into())).await;
        notes.expect(Note::Packet("two".into())).await;
    }
}

#[actix::test]
async fn a_frame_in_three_pieces_is_one_packet() {
    for framing in framings() {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        let frame = wire(&framing, ["in three"]);
        for end in [1, frame.len() - 1] {
            let start = if end == 1 { 0 } else { 1 };
            peer.send(&frame[start..end]).await;
            has_read(&pool, end).await;
        }
        peer.send(&frame[frame.len() - 1..]).await;
        peer.expect(&frame).await;
        notes.expect(Note::Packet("in three".into())).await;
    }
}

#[actix::test]
async fn a_packet_timeout_carries_the_bytes_and_the_prefix() {
    for framing in framings() {
        let (builder, mut notes) = reporting_pool(framing.clone(), false);
        let pool = builder.packet_timeout(LIMIT).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let begun = wire(&framing, ["never finished"])[..9].to_vec();
        let started = Instant::now();
        peer.send(wire(&framing, ["whole"])).await;
        peer.send(&begun).await;
        notes.expect(Note::Packet("whole".into())).await;
        notes.expect(Note::Partial(begun.into())).await;
        assert!(started.elapsed() >= LIMIT, "{framing}: too early");
        notes.expect(Note::Closed(CloseReason::PacketTimeout)).await;
        assert_eq!(peer.read_to_end().await, wire(&framing, ["whole"]));
    }
}

#[actix::test]
async fn after_a_packet_timeout_the_next_frame_starts_clean() {
    for framing in framings() {
        let (builder, mut notes) = reporting_pool(framing.clone(), true);
        let pool = builder.packet_timeout(LIMIT).bind("127.0.0.1:0").await.unwrap();
        let mut peer = connect(&pool).await;
        let begun = wire(&framing, ["a first, longer one"])[..16].to_vec();
        peer.send(&begun).await;
        notes.expect(Note::Partial(begun.into())).await;
        peer.echo(wire(&framing, ["whole"])).await;
        notes.expect(Note::Packet("whole".into())).await;
    }
}

#[actix::test]
async fn a_packet_timer_does_not_affect_the_next_client() {
    let (builder, mut notes) = reporting_pool(Framing::len2(), false);
    let idle = 3 * LIMIT;
    let pool = builder.packet_timeout(LIMIT).idle_timeout(idle).on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    let mut hasty = connect(&pool).await;
    hasty.send([0, 9, b'x']).await;
    has_read(&pool, 3).await;
    hasty.finish().await;
    notes.expect(Note::HalfClosed).await;
    notes.expect(Note::Closed(CloseReason::Peer)).await;
    // The next one is well past the first one's time: all that comes to it is its own silence.
    let mut next = connect(&pool).await;
    let spoken = Instant::now();
    next.echo([0, 2, b'o', b'k']).await;
    notes.expect(Note::Packet("ok".into())).await;
    notes.expect(Note::Idle).await;
    assert!(spoken.elapsed() >= idle, "too early");
    notes.expect(Note::Closed(CloseReason::Idle)).await;
}

#[actix::test]
async fn a_complete_packet_clears_its_timer() {
    let (builder, mut notes) = reporting_pool(Framing::len2(), false);
    let pool = builder.packet_timeout(LIMIT).idle_timeout(3 * LIMIT).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send([0, 2, b'o']).await;
    has_read(&pool, 3).await;
    peer.send([b'k']).await;
    peer.expect(&[0, 2, b'o', b'k']).await;
    notes.expect(Note::Packet("ok".into())).await;
    notes.expect(Note::Idle).await;
}

#[actix::test]
async fn send_and_stop_sends_before_closing() {
    for framing in framings() {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        // The rest is no packet.
        peer.send(wire(&framing, ["first", "quit", "too late"])).await;
        assert_eq!(peer.read_to_end().await, wire(&framing, ["first", "bye"]), "{framing}");
        notes.expect(Note::Packet("first".into())).await;
        notes.expect(Note::Packet("quit".into())).await;
        notes.expect(Note::Closed(CloseReason::Local)).await;
    }
}
