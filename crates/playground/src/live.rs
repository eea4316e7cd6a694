//! The options that can change while the server runs, and what all handlers do with them.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use actix_acceptor::{Conn, Next, Protocol, Timeout};
use bytes::Bytes;

use crate::options::{OnPacketTimeout, Options};

/// The current options.
#[derive(Debug)]
pub struct LiveOptions(RwLock<Options>);

impl LiveOptions {
    pub fn new(options: Options) -> Self {
        LiveOptions(RwLock::new(options))
    }

    fn current(&self) -> RwLockReadGuard<'_, Options> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn greeting(&self) -> Option<Bytes> {
        self.current().greeting.clone().map(Bytes::from)
    }

    pub fn goodbye(&self) -> Option<Bytes> {
        self.current().goodbye.clone().map(Bytes::from)
    }

    pub fn lingers(&self) -> bool {
        self.current().linger
    }

    pub fn echoes_partial(&self) -> bool {
        self.current().on_packet_timeout == OnPacketTimeout::Echo
    }

    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.current().grace)
    }

    pub fn options(&self) -> Options {
        self.current().clone()
    }

    pub fn set(&self, options: Options) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = options;
    }
}

/// The replies of a [`Protocol`].
impl LiveOptions {
    pub fn send_greeting<P: Protocol<Reply = Bytes>>(&self) -> Next<P> {
        self.greeting().map_or(Next::Continue, Next::Send)
    }

    pub fn on_timeout<P: Protocol<Reply = Bytes>>(&self, timeout: Timeout) -> Next<P> {
        match timeout {
            Timeout::Packet(partial) if self.echoes_partial() => Next::Send(partial),
            _ => Next::Stop,
        }
    }

    pub fn on_shutdown<P: Protocol<Reply = Bytes>>(&self, conn: &mut Conn<P>) -> Next<P> {
        if let Some(goodbye) = self.goodbye() {
            conn.push(goodbye);
        }
        if self.lingers() {
            Next::Continue
        } else {
            Next::Stop
        }
    }
}
