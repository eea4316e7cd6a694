//! Clients that speak in the items of a codec.

use actix_acceptor::testing::Harness;
use actix_acceptor::{AcceptorPool, Framing};
use bytes::Bytes;
use support::*;
use tokio_util::codec::{BytesCodec, LinesCodec};

use super::*;

#[actix::test]
async fn items_are_said_and_expected() {
    let harness = Harness::start(AcceptorPool::with_protocol(|_| Echo).framing(Framing::len4())).await;
    let mut client = harness.connect().await.framed(Framing::len4());
    client.say("one").await;
    client.say(Bytes::from_static(b"two")).await;
    client.say(vec![0; 100_000]).await;
    client.expect("one").await;
    client.expect(Bytes::from_static(b"two")).await;
    assert_eq!(client.receive().await.len(), 100_000);
    client.silence(ms(10)).await;
    client.say("rest").await;
    client.say("of it").await;
    client.finish().await;
    assert_eq!(client.end().await, ["rest", "of it"]);
}

#[actix::test]
async fn a_client_may_have_another_codec_than_the_server() {
    let harness = echo_harness().await;
    let mut lines = harness.connect().await.framed(LinesCodec::new());
    lines.say::<&str>("hello").await;
    lines.expect("hello").await;
    // Without the codec for a moment: half a line.
    lines.raw().say("wor").await;
    lines.say::<&str>("ld").await;
    lines.raw().expect("world").await;
    lines.raw().expect("\n").await;
    let mut bytes = lines.into_raw().framed(BytesCodec::new());
    bytes.say::<Bytes>("raw\n").await;
    bytes.expect(&b"raw\n"[..]).await;
    bytes.reset().await;
    assert_eq!(harness.pool().connections(), 0);
}
