//! What is left in the buffer when the peer has said all.

use super::*;

#[actix::test]
async fn the_unterminated_last_line_is_delivered_at_the_end() {
    for framing in framings().into_iter().filter(|framing| !is_prefixed(framing)) {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        peer.send(wire(&framing, ["whole"])).await;
        peer.send("rest").await;
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, wire(&framing, ["whole", "rest"]), "{framing}");
        notes.expect(Note::Packet("whole".into())).await;
        notes.expect(Note::Packet("rest".into())).await;
        notes.expect(Note::HalfClosed).await;
        notes.expect(Note::Closed(CloseReason::Peer)).await;
    }
}

#[actix::test]
async fn a_fin_inside_a_packet_drops_it_and_ends_as_peer() {
    for framing in framings().into_iter().filter(is_prefixed) {
        let (pool, mut notes) = bound(framing.clone()).await;
        let mut peer = connect(&pool).await;
        peer.send(wire(&framing, ["whole"])).await;
        let begun = wire(&framing, ["unfinished"]);
        peer.send(&begun[..begun.len() - 1]).await;
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, wire(&framing, ["whole"]), "{framing}");
        notes.expect(Note::Packet("whole".into())).await;
        notes.expect(Note::HalfClosed).await;
        notes.expect(Note::Closed(CloseReason::Peer)).await;
    }
}

#[actix::test]
async fn half_close_delivers_the_rest_and_keeps_going() {
    let (builder, mut notes) = reporting_pool(Framing::lines(), false);
    let pool = builder.half_close(true).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("rest").await;
    peer.finish().await;
    peer.expect(b"rest\n").await;
    notes.expect(Note::Packet("rest".into())).await;
    notes.expect(Note::HalfClosed).await;
    let (id, address) = pool.addresses().remove(0);
    in_time(address.send(actix_acceptor::Reply(Bytes::from_static(b"still here")))).await.unwrap().unwrap();
    peer.expect(b"still here\n").await;
    assert!(pool.kill(id));
    notes.expect(Note::Closed(CloseReason::Killed)).await;
}
