//! What every handler does alike at the beginning, at a timeout and at the end; may be changed while running.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use actix_acceptor::{Conn, Next, Protocol, Timeout};
use bytes::Bytes;

use crate::options::{OnPacketTimeout, Options};

/// The part of the options that this program itself obeys.
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

    /// Changes an option, given as on the command line but without dashes.
    pub fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let mut options = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let text = || options.fits(value).map(|()| Some(value.to_owned()).filter(|text| !text.is_empty()));
        match name {
            "greeting" => options.greeting = text()?,
            "goodbye" => options.goodbye = text()?,
            "linger" => options.linger = switch(value)?,
            "on-packet-timeout" => options.on_packet_timeout = clap::ValueEnum::from_str(value, false)?,
            "grace" => options.grace = value.parse().map_err(|_| "expected milliseconds")?,
            _ if Options::is_not_yet(name) => {
                return Err(format!("{name} is not supported yet and cannot be changed live"))
            }
            _ if Options::exists(name) => return Err(format!("{name} cannot be changed live")),
            _ => return Err(format!("there is no option {name}")),
        }
        Ok(())
    }
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("expected on or off".into()),
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
