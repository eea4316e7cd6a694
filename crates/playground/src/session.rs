//! One connection as an async fn serves it, for the handlers `async` and `actor`: what [`Echo`](crate::echo::Echo) does
//! by callbacks, as one loop.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use actix_acceptor::{BoxError, Closed, Socket};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, Instant};

use crate::doors::Setting;
use crate::packets::{Came, Packets};
use crate::security::describe;
use crate::verbs::{Text, Verb};

/// What the console may tell a session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Order {
    Send(Bytes),
    Ask(oneshot::Sender<u64>),
    /// Sends back nothing.
    Nothing,
}

pub struct Session {
    packets: Packets,
    orders: mpsc::UnboundedReceiver<Order>,
    setting: Arc<Setting>,
    count: Rc<Cell<u64>>,
    half_close: bool,
    /// The socket is not read until then.
    passive: Option<Instant>,
}

/// Whether the session goes on.
type GoesOn = Result<bool, BoxError>;

impl Session {
    pub fn new(socket: Socket, setting: Arc<Setting>, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        let options = setting.manners.options();
        let packets = Packets::new(socket, options.framing(), options.settings().packet_timeout);
        Session { packets, orders, setting, count: Rc::default(), half_close: options.half_close, passive: None }
    }

    /// How many packets came so far.
    pub fn packets(&self) -> Rc<Cell<u64>> {
        self.count.clone()
    }

    /// From the first byte to the last; the socket is told how it ended.
    pub async fn run(mut self) -> Result<(), BoxError> {
        let outcome = self.serve().await.map_err(Closed::from);
        if let Err(why) = &outcome {
            self.packets.note(why.reason());
        }
        Ok(outcome?)
    }

    async fn serve(&mut self) -> Result<(), BoxError> {
        let mut draining = pin!(self.packets.socket().draining());
        let mut told = false;
        if let Some(greeting) = self.setting.manners.greeting() {
            self.packets.send(greeting).await?;
        }
        loop {
            let until = self.passive.unwrap_or_else(Instant::now);
            let goes_on = tokio::select! {
                () = &mut draining, if !told => {
                    told = true;
                    self.take_leave().await?
                }
                Some(order) = self.orders.recv() => self.follow(order).await?,
                () = sleep_until(until), if self.passive.is_some() => {
                    self.passive = None;
                    true
                }
                came = self.packets.next(), if self.passive.is_none() && !self.packets.ended() => match came? {
                    Came::Packet(packet) => self.take(packet).await?,
                    Came::Unfinished(partial) => self.give_up(partial).await?,
                    Came::End => self.half_close && !told,
                },
            };
            if !goes_on {
                return Ok(self.packets.close().await?);
            }
        }
    }

    async fn take_leave(&mut self) -> GoesOn {
        if let Some(goodbye) = self.setting.manners.goodbye() {
            self.packets.send(goodbye).await?;
        }
        Ok(self.setting.manners.lingers() && !self.packets.ended())
    }

    async fn follow(&mut self, order: Order) -> GoesOn {
        match order {
            Order::Send(packet) => self.packets.send(packet).await?,
            Order::Ask(answer) => drop(answer.send(self.count.get())),
            Order::Nothing => {}
        }
        Ok(true)
    }

    async fn give_up(&mut self, partial: Bytes) -> GoesOn {
        if self.setting.manners.echoes_partial() {
            self.packets.send(partial).await?;
            return Ok(true);
        }
        Err(Closed::PacketTimeout.into())
    }

    async fn take(&mut self, packet: Bytes) -> GoesOn {
        self.count.set(self.count.get() + 1);
        match self.setting.dialect.verb(&packet) {
            None => self.packets.send(packet).await?,
            Some((verb, text)) => return self.obey(verb, text).await,
        }
        Ok(true)
    }

    async fn obey(&mut self, verb: Verb, text: Text) -> GoesOn {
        let answer = match verb {
            Verb::Count => text.answer(self.count.get().to_string()),
            Verb::Id => text.answer(self.packets.socket().id().to_string()),
            Verb::Peer => text.answer(self.packets.socket().peer().to_string()),
            Verb::Tls => text.answer(describe(self.packets.socket().tls())),
            Verb::StartTls => match self.setting.security.tls.clone() {
                Some(tls) if self.packets.socket().tls().is_none() => {
                    self.packets.send(text.answer("go ahead")).await?;
                    self.packets.upgrade(tls).await?;
                    return Ok(true);
                }
                _ => text.answer("unsupported"),
            },
            Verb::Panic => panic!("the peer asked for it"),
            Verb::Stop => return Ok(false),
            Verb::Bye(last) => {
                self.packets.send(text.answer(last)).await?;
                return Ok(false);
            }
            Verb::Fail(why) => return Err(why.into()),
            Verb::Wait(time) => {
                tokio::select! {
                    () = sleep(time) => {}
                    left = self.packets.left(self.half_close) => {
                        left?;
                        return Ok(false);
                    }
                }
                text.answer("waited")
            }
            Verb::Passive(time) => {
                self.passive = Instant::now().checked_add(time);
                text.answer("passive")
            }
            Verb::Flood(packets) => {
                for _ in 0..packets {
                    self.packets.feed(self.setting.dialect.flood.clone()).await?;
                }
                if text.ending.is_empty() {
                    self.packets.flush().await?;
                    return Ok(true);
                }
                text.ending
            }
        };
        self.packets.send(answer).await?;
        Ok(true)
    }
}
