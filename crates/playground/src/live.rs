//! What every handler does alike at the beginning, at a timeout and at the end; may be changed while running.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use actix_acceptor::{Conn, Next, Protocol, Timeout};
use bytes::Bytes;

use crate::options::{OnPacketTimeout, Options};

/// The options as they are at present.
pub struct Manners(RwLock<Options>);

impl Manners {
    pub fn new(options: Options) -> Self {
        Manners(RwLock::new(options))
    }

    fn now(&self) -> RwLockReadGuard<'_, Options> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn greeting(&self) -> Option<Bytes> {
        self.now().greeting.clone().map(Bytes::from)
    }

    pub fn goodbye(&self) -> Option<Bytes> {
        self.now().goodbye.clone().map(Bytes::from)
    }

    pub fn lingers(&self) -> bool {
        self.now().linger
    }

    pub fn echoes_partial(&self) -> bool {
        self.now().on_packet_timeout == OnPacketTimeout::Echo
    }

    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.now().grace)
    }

    pub fn options(&self) -> Options {
        self.now().clone()
    }

    pub fn set(&self, options: Options) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = options;
    }
}

/// The same as answers of a [`Protocol`].
impl Manners {
    pub fn greet<P: Protocol<Reply = Bytes>>(&self) -> Next<P> {
        self.greeting().map_or(Next::Continue, Next::Send)
    }

    pub fn on_timeout<P: Protocol<Reply = Bytes>>(&self, timeout: Timeout) -> Next<P> {
        match timeout {
            Timeout::Packet(partial) if self.echoes_partial() => Next::Send(partial),
            _ => Next::Stop,
        }
    }

    pub fn take_leave<P: Protocol<Reply = Bytes>>(&self, conn: &mut Conn<P>) -> Next<P> {
        if let Some(Err(error)) = self.goodbye().map(|goodbye| conn.send(goodbye)) {
            return Next::fail(error);
        }
        if self.lingers() {
            Next::Continue
        } else {
            Next::Stop
        }
    }
}
