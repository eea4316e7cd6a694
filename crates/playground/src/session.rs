//! A connection of the handlers `async` and `actor`: does in one loop what [`Echo`](crate::echo::Echo) does with callbacks.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{BoxError, Closed, Socket};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, Instant};

use crate::handlers::ServerConfig;
use crate::packets::{Packets, Received};
use crate::security::describe;
use crate::verb::{Text, Verb};

/// A command of the console to a session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Command {
    Send(Bytes),
    Ask(oneshot::Sender<u64>),
    /// Sends a last packet, and closes within this time.
    Close(Option<Bytes>, Duration),
    /// Has no effect.
    NoOp,
}

/// Sends commands to a session. A close does not wait behind other commands.
#[derive(Clone)]
pub struct CommandSender {
    commands: mpsc::UnboundedSender<Command>,
    closes: mpsc::UnboundedSender<(Option<Bytes>, Duration)>,
}

pub struct CommandReceiver {
    commands: mpsc::UnboundedReceiver<Command>,
    closes: mpsc::UnboundedReceiver<(Option<Bytes>, Duration)>,
}

pub fn command_channel() -> (CommandSender, CommandReceiver) {
    let (sender, commands) = mpsc::unbounded_channel();
    let (closing, closes) = mpsc::unbounded_channel();
    (CommandSender { commands: sender, closes: closing }, CommandReceiver { commands, closes })
}

impl CommandSender {
    /// Returns false if the session has ended.
    pub fn send(&self, command: Command) -> bool {
        match command {
            Command::Close(last, grace) => self.closes.send((last, grace)).is_ok(),
            command => self.commands.send(command).is_ok(),
        }
    }
}

pub struct Session {
    packets: Packets,
    commands: CommandReceiver,
    config: Arc<ServerConfig>,
    count: Rc<Cell<u64>>,
    half_close: bool,
    /// The socket is not read until this time.
    passive_until: Option<Instant>,
    /// The answers of `!spawn` and `!after` that are due later.
    later: Vec<(Instant, Bytes)>,
}

/// Whether the session continues.
type Continues = Result<bool, BoxError>;

impl Session {
    pub fn new(socket: Socket, config: Arc<ServerConfig>, commands: CommandReceiver) -> Self {
        let options = config.live.options();
        let packets = Packets::new(socket, options.framing(), options.settings().packet_timeout);
        Session {
            packets,
            commands,
            config,
            count: Rc::default(),
            half_close: options.half_close,
            passive_until: None,
            later: Vec::new(),
        }
    }

    /// The number of packets received so far.
    pub fn packets(&self) -> Rc<Cell<u64>> {
        self.count.clone()
    }

    /// Serves the connection to its end and sets the close reason.
    pub async fn run(mut self) -> Result<(), BoxError> {
        // On a close, the session drops the future that it waits for and keeps what is queued.
        let (unused, closes) = mpsc::unbounded_channel();
        drop(unused);
        let mut closes = std::mem::replace(&mut self.commands.closes, closes);
        let outcome = tokio::select! {
            outcome = self.serve() => outcome,
            Some((last, grace)) = closes.recv() => {
                let _ = tokio::time::timeout(grace, self.packets.send_last(last)).await;
                Ok(())
            }
        };
        let outcome = outcome.map_err(Closed::from);
        if let Err(closed) = &outcome {
            self.packets.set_close_reason(closed.reason());
        }
        Ok(outcome?)
    }

    async fn serve(&mut self) -> Result<(), BoxError> {
        let mut draining = pin!(self.packets.socket().draining());
        let mut is_draining = false;
        if let Some(greeting) = self.config.live.greeting() {
            self.packets.send(greeting).await?;
        }
        loop {
            let until = self.passive_until.unwrap_or_else(Instant::now);
            let next = self.later.iter().map(|(due, _)| *due).min();
            let continues = tokio::select! {
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    self.on_shutdown().await?
                }
                Some(command) = self.commands.commands.recv() => self.execute(command).await?,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.send_due().await?,
                () = sleep_until(until), if self.passive_until.is_some() => {
                    self.passive_until = None;
                    true
                }
                received = self.packets.next(), if self.passive_until.is_none() && !self.packets.ended() => match received? {
                    Received::Packet(packet) => self.on_packet(packet).await?,
                    Received::Unfinished(partial) => self.on_packet_timeout(partial).await?,
                    Received::End => self.half_close && !is_draining,
                },
            };
            if !continues {
                return Ok(self.packets.close().await?);
            }
        }
    }

    fn answer_after(&mut self, time: Duration, answer: Bytes) {
        if let Some(due) = Instant::now().checked_add(time) {
            self.later.push((due, answer));
        }
    }

    /// Sends the answers that are due.
    async fn send_due(&mut self) -> Continues {
        let now = Instant::now();
        let mut due: Vec<_> = self.later.extract_if(.., |(due, _)| *due <= now).collect();
        due.sort_by_key(|(due, _)| *due);
        for (_, answer) in due {
            self.packets.send(answer).await?;
        }
        Ok(true)
    }

    /// Waits for a future. The peer still gets the answer after a FIN, but only within the idle timeout.
    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, BoxError> {
        let idle = self.config.live.options().settings().idle_timeout;
        tokio::select! {
            output = future => Ok(output),
            gone = self.packets.peer_gone(idle) => Err(gone),
        }
    }

    async fn on_shutdown(&mut self) -> Continues {
        if let Some(goodbye) = self.config.live.goodbye() {
            self.packets.send(goodbye).await?;
        }
        Ok(self.config.live.lingers() && !self.packets.ended())
    }

    async fn execute(&mut self, command: Command) -> Continues {
        match command {
            Command::Send(packet) => self.packets.send(packet).await?,
            Command::Ask(answer) => drop(answer.send(self.count.get())),
            // A close arrives through a channel of its own.
            Command::Close(..) | Command::NoOp => {}
        }
        Ok(true)
    }

    async fn on_packet_timeout(&mut self, partial: Bytes) -> Continues {
        if self.config.live.echoes_partial() {
            self.packets.send(partial).await?;
            return Ok(true);
        }
        Err(Closed::PacketTimeout.into())
    }

    async fn on_packet(&mut self, packet: Bytes) -> Continues {
        self.count.set(self.count.get() + 1);
        match self.config.packet_text.verb(&packet) {
            None => self.packets.send(packet).await?,
            Some((verb, text)) => return self.run_verb(verb, text).await,
        }
        Ok(true)
    }

    async fn run_verb(&mut self, verb: Verb, text: Text) -> Continues {
        let answer = match verb {
            Verb::Count => text.answer(self.count.get().to_string()),
            Verb::Id => text.answer(self.packets.socket().id().to_string()),
            Verb::Peer => text.answer(self.packets.socket().peer().to_string()),
            Verb::Tls => text.answer(describe(self.packets.socket().tls())),
            Verb::StartTls => match self.config.security.tls.clone() {
                Some(tls) if self.packets.socket().tls().is_none() => {
                    self.packets.send(text.answer("go ahead")).await?;
                    self.packets.upgrade(tls).await?;
                    return Ok(true);
                }
                _ => text.answer("unsupported"),
            },
            Verb::Panic => panic!("requested by the peer"),
            Verb::Stop => return Ok(false),
            Verb::Bye(last) => {
                self.packets.send(text.answer(last)).await?;
                return Ok(false);
            }
            Verb::Fail(why) => return Err(why.into()),
            Verb::Wait(time) => {
                self.wait(sleep(time)).await?;
                text.answer("waited")
            }
            Verb::Block(time) => {
                self.wait(tokio::task::spawn_blocking(move || std::thread::sleep(time))).await??;
                text.answer("blocked")
            }
            Verb::Spawn(time) => {
                self.answer_after(time, text.answer("later"));
                text.answer("spawned")
            }
            Verb::After(time, later) => {
                self.answer_after(time, text.answer(later));
                return Ok(true);
            }
            Verb::Passive(time) => {
                self.passive_until = Instant::now().checked_add(time);
                text.answer("passive")
            }
            Verb::Messaging(_) => text.answer("unsupported"),
            Verb::Flood(packets) => {
                for _ in 0..packets {
                    self.packets.feed(self.config.packet_text.flood.clone()).await?;
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
