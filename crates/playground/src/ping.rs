//! The handler `ping`: condor's overview.

use std::sync::Arc;
use std::time::Instant;

use actix_acceptor::{Conn, Framing, Next, Protocol, Timeout};
use bytes::Bytes;

use crate::doors::{Setting, Watched};

pub struct Ping {
    setting: Arc<Setting>,
    packets: u64,
}

impl Ping {
    pub fn new(setting: Arc<Setting>) -> Self {
        Ping { setting, packets: 0 }
    }
}

impl Protocol for Ping {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.greet()
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        self.packets += 1;
        let text = self.setting.dialect.text(&packet);
        match &text.text[..] {
            b"ping" => Next::Send(text.answer("pong")),
            b"stop" => Next::SendAndStop(text.answer("ok")),
            _ => Next::Send(text.answer("what?")),
        }
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.take_leave(conn)
    }
}

impl Watched for Ping {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn nothing() {}
}
