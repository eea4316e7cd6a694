//! Codecs that are not ours: the bytes that they leave in the buffer.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_util::codec::LinesCodec;

use super::*;

/// Sends every line back, by a codec without a limit.
struct Lines(Recorder);

impl Protocol for Lines {
    type Codec = LinesCodec;
    type Reply = String;
    type User = ();

    fn packet(&mut self, line: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(line)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

#[actix::test]
async fn a_codec_without_a_limit_is_bounded_by_max_read_buffer() {
    const LIMIT: usize = 50_000;
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_codec(move |_| Lines(recorder.clone()), LinesCodec::new)
        .packet_timeout(None)
        .max_read_buffer(LIMIT)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (mut fits, mut floods) = (connect(&pool).await, connect(&pool).await);
    let line = [vec![b'l'; LIMIT - 1], b"\n".to_vec()].concat();
    // Packets do not add up.
    for _ in 0..3 {
        fits.echo(&line).await;
    }
    for _ in 0..16 * 1024 {
        if floods.0.write_all(&[b'f'; 1024]).await.is_err() {
            break;
        }
    }
    let (reason, why) = closings.next().await;
    assert_eq!(reason, CloseReason::TooLong, "{why}");
    // One read above the limit at most.
    let length: usize = why.split(|letter: char| !letter.is_ascii_digit()).find_map(|word| word.parse().ok()).unwrap();
    assert!((LIMIT + 1..=LIMIT + 32 * 1024).contains(&length), "{why}");
    fits.echo(&line).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn max_read_buffer_does_not_limit_a_framing() {
    let (builder, mut notes) = reporting_pool(Framing::lines(), false);
    let pool = builder.max_frame(300_000).max_read_buffer(1_000).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let packet = Bytes::from(vec![b'm'; 300_000]);
    peer.echo(wire(&Framing::lines(), [&packet])).await;
    notes.expect(Note::Packet(packet)).await;
    in_time(pool.stop(Duration::ZERO)).await;
}
