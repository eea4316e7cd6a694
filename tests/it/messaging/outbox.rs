//! Outboxes: replies from other parts of the program.

use actix_acceptor::{telemetry::CloseReason, OutboxError, SendError};
use support::*;

use super::*;

async fn only(pool: &Members) -> ConnectionRef<Member> {
    eventually(|| pool.connections() == 1).await;
    pool.connection(pool.list()[0].id).unwrap()
}

#[actix::test]
async fn replies_come_from_any_thread() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let outbox = only(&pool).await.outbox();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let outbox = outbox.clone();
            std::thread::spawn(move || (0..250).for_each(|n| outbox.send(format!("{n:03}")).unwrap()))
        })
        .collect();
    let received = peer.read_exact(4_000).await;
    let mut counts = [0; 250];
    for line in received.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        counts[std::str::from_utf8(line).unwrap().parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(counts, [4; 250]);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    eventually(|| outbox.pending() == 0).await;
}

#[actix::test]
async fn a_closed_connection_gives_replies_back() {
    let pool = start().await;
    let peer = connect(&pool).await;
    let connection = only(&pool).await;
    drop(peer);
    eventually(|| pool.connections() == 0).await;
    let error = connection.send("late").unwrap_err();
    assert!(matches!(&error, OutboxError::Closed(reply) if reply == "late"));
    assert_eq!(error.into_reply().unwrap(), "late");
    assert!(connection.outbox().is_closed());
    assert!(connection.address().is_none());
}

#[actix::test]
async fn a_reply_that_cannot_be_encoded_is_an_error() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let connection = only(&pool).await;
    // It has its codec.
    assert_eq!(ask(&mut peer, "ready").await, "ready");
    let error = connection.send("two\nlines").unwrap_err();
    assert!(matches!(error, OutboxError::Encode(SendError::Delimiter { position: 3 })));
    assert_eq!(ask(&mut peer, "next").await, "next");
}

#[actix::test]
async fn a_last_reply_comes_after_the_outbox() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let connection = only(&pool).await;
    let expected: String = (0..1_000).map(|n| format!("{n}\n")).collect();
    (0..1_000).for_each(|n| connection.send(n.to_string()).unwrap());
    assert!(connection.close(Some("last".into()), ms(5_000)));
    assert_eq!(peer.read_to_end().await, format!("{expected}last\n").as_bytes());
    eventually(|| pool.info().closed.get(CloseReason::Local) == 1).await;
}

#[actix::test]
async fn a_large_reply_arrives_whole() {
    let pool = start().await;
    let mut peer = connect(&pool).await;
    let connection = only(&pool).await;
    let large = "x".repeat(900_000);
    connection.send("before").unwrap();
    connection.send(large.clone()).unwrap();
    connection.send("after").unwrap();
    assert_eq!(line(&mut peer).await, "before");
    assert!(peer.read_exact(900_001).await == format!("{large}\n").as_bytes());
    assert_eq!(line(&mut peer).await, "after");
}

/// Replies are encoded with the framing that the connection has when they are queued, and those before a change come first.
#[actix::test]
async fn replies_around_a_change_of_framing_stay_whole() {
    // Room for all of them: an unencoded reply counts 64 bytes.
    let pool = start_with(|builder| builder.acceptors(1).outbox(8 << 20, Default::default())).await;
    let mut peer = connect(&pool).await;
    let connection = only(&pool).await;
    let sender = std::thread::spawn(move || (0..20_000).for_each(|n| connection.send(n.to_string()).unwrap()));
    let mut expected = 0..20_000;
    let mut is_lines = true;
    let mut received = Vec::new();
    // The answer to `framing` is the last packet of the old framing.
    for _ in 0..20 {
        let command: &[u8] = if is_lines { b"framing\n" } else { b"\0\x07framing" };
        peer.send(command).await;
        loop {
            let packet = if is_lines { line(&mut peer).await } else { prefixed(&mut peer).await };
            if packet == "changed" {
                break;
            }
            received.push(packet);
        }
        is_lines = !is_lines;
    }
    while received.len() < 20_000 {
        let packet = if is_lines { line(&mut peer).await } else { prefixed(&mut peer).await };
        received.push(packet);
    }
    assert!(received.iter().all(|packet| *packet == expected.next().unwrap().to_string()));
    sender.join().unwrap();
}

async fn prefixed(peer: &mut Peer<TcpStream>) -> String {
    let length = peer.read_exact(2).await;
    let packet = peer.read_exact(u16::from_be_bytes([length[0], length[1]]).into()).await;
    String::from_utf8(packet).unwrap()
}
