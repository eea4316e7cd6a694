//! A protocol for endings.

use std::time::Duration;

use actix_acceptor::{Conn, Framing, Next, Protocol};
use bytes::Bytes;

/// Ends in whatever way its peer names.
pub struct EndOnRequest;

impl Protocol for EndOnRequest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &*packet {
            b"local" => return Next::Stop,
            b"idle" => conn.set_idle_timeout(Duration::from_millis(50)),
            b"packet_timeout" => conn.set_packet_timeout(Duration::from_millis(50)),
            b"send_timeout" => return Next::Send(Bytes::from(vec![7; 16 * 1024 * 1024])),
            b"detached" => return Next::detach(drop),
            b"error" => return Next::fail("as asked"),
            // The next connection that is asked for it takes the name over.
            b"replaced" => conn.register_replacing("owner"),
            b"slow_consumer" => while conn.outbox().send(vec![7; 64 * 1024]).is_ok() {},
            b"panic" => panic!("as asked"),
            _ => return Next::Send(packet),
        }
        Next::Continue
    }
}
