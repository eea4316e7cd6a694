//! The handler `ping`: the example of condor's overview.

use std::sync::Arc;

use actix_acceptor::{Conn, Framing, Next, Protocol, Timeout};
use bytes::Bytes;
use tokio::time::Instant;

use crate::handlers::{Controllable, ServerConfig};

pub struct Ping {
    config: Arc<ServerConfig>,
    packets: u64,
}

impl Ping {
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Ping { config, packets: 0 }
    }
}

impl Protocol for Ping {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.config.live.send_greeting()
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        self.packets += 1;
        let text = self.config.packet_text.text(&packet);
        match &text.text[..] {
            b"ping" => Next::Send(text.answer("pong")),
            b"stop" => Next::SendAndStop(text.answer("ok")),
            _ => Next::Send(text.answer("what?")),
        }
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.config.live.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.config.live.on_shutdown(conn)
    }
}

impl Controllable for Ping {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn no_op() {}
}
