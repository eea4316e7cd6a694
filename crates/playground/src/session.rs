//! A connection of the handlers `async` and `actor`: does in one loop what [`Echo`](crate::echo::Echo) does with callbacks.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{BoxError, Closed, Outbox, Pushes, Socket};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, Instant};

use crate::handlers::ServerConfig;
use crate::messaging::{Memberships, MessagingVerb, SocketMessenger};
use crate::packets::{Packets, Received};
use crate::security::describe;
use crate::sessions::SessionEntry;
use crate::tokens::Tokens;
use crate::verb::{Text, Verb};

/// A message of the console to a session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Command {
    Ask(oneshot::Sender<u64>),
    /// Has no effect.
    NoOp,
}

pub struct Session {
    packets: Packets,
    /// What others send to this connection. Ends when the pool closes the connection.
    pushes: Pushes,
    outbox: Outbox<Bytes>,
    commands: mpsc::UnboundedReceiver<Command>,
    entry: SessionEntry,
    config: Arc<ServerConfig>,
    count: Rc<Cell<u64>>,
    memberships: Memberships,
    half_close: bool,
    /// The packet rate, if there is one.
    tokens: Option<Tokens>,
    /// The socket is not read until this time.
    passive_until: Option<Instant>,
    /// The answers of `!spawn` and `!after` that are due later.
    later: Vec<(Instant, Bytes)>,
}

/// Whether the session continues.
type Continues = Result<bool, BoxError>;

impl Session {
    pub fn new(socket: Socket, config: Arc<ServerConfig>) -> Self {
        let options = config.live.options();
        let (pushes, outbox) = (socket.pushes(), socket.outbox());
        let (entry, commands) = config.sessions.add(socket.id());
        let limit = options.settings().packet_timeout;
        Session {
            packets: Packets::new(socket, options.framing(), limit, entry.status.clone()),
            pushes,
            outbox,
            commands,
            entry,
            config,
            count: Rc::default(),
            memberships: Memberships::default(),
            half_close: options.half_close,
            tokens: options.packet_rate.map(Tokens::new),
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
        let outcome = self.serve().await.map_err(Closed::from);
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
            let tokens = self.tokens.as_ref().filter(|_| !self.packets.is_read_to_end());
            let slowed_until = tokens.and_then(Tokens::next);
            let is_read = self.passive_until.is_none() && !self.packets.ended();
            let next = self.later.iter().map(|(due, _)| *due).min();
            let continues = tokio::select! {
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    self.on_shutdown().await?
                }
                pushed = self.pushes.recv() => self.on_pushed(pushed).await?,
                Some(command) = self.commands.recv() => self.execute(command),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.send_due().await?,
                () = sleep_until(until), if self.passive_until.is_some() => {
                    self.passive_until = None;
                    true
                }
                () = sleep_until(slowed_until.unwrap_or_else(Instant::now)), if slowed_until.is_some() => {
                    self.packets.restart_packet_timeout();
                    true
                }
                received = self.packets.next_unless(slowed_until.is_some()), if is_read => match received? {
                    // What the pool closes gets no answer any more.
                    _ if self.outbox.is_closed() => false,
                    None => true,
                    Some(Received::Packet(packet)) => self.on_packet(packet).await?,
                    Some(Received::Unfinished(partial)) => self.on_packet_timeout(partial).await?,
                    Some(Received::End) => self.half_close && !is_draining,
                },
            };
            if !continues {
                self.send_last_pushes().await?;
                return Ok(self.packets.close().await?);
            }
        }
    }

    /// Sends what others have sent. Stops when the pool closes the connection.
    async fn on_pushed(&mut self, pushed: Option<Bytes>) -> Continues {
        let Some(bytes) = pushed else { return Ok(false) };
        self.packets.feed_encoded(bytes).await?;
        self.packets.flush().await?;
        Ok(true)
    }

    /// Queues what others have sent until now, and not what they send meanwhile.
    async fn take_pushes(&mut self) -> Result<(), BoxError> {
        let mut left = self.outbox.pending();
        while left > 0 {
            let Some(bytes) = self.pushes.try_recv() else { break };
            left = left.saturating_sub(bytes.len());
            self.packets.feed_encoded(bytes).await?;
        }
        Ok(())
    }

    /// Accepts nothing more from others, and queues what they have sent.
    async fn send_last_pushes(&mut self) -> Result<(), BoxError> {
        self.pushes.close();
        self.take_pushes().await
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

    /// Waits for a future and sends what others send meanwhile. `None` if the pool closes the connection. The peer still gets
    /// the answer after a FIN, but only within the idle timeout.
    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<Option<T>, BoxError> {
        let (began, idle) = (Instant::now(), self.config.live.options().settings().idle_timeout);
        let mut future = pin!(future);
        self.entry.status.set_waiting(true);
        let output = loop {
            let pushed = tokio::select! {
                output = &mut future => break Some(output).filter(|_| !self.outbox.is_closed()),
                gone = self.packets.peer_gone(began, idle) => return Err(gone),
                pushed = self.pushes.recv() => pushed,
            };
            if !self.on_pushed(pushed).await? {
                break None;
            }
        };
        self.entry.status.set_waiting(false);
        Ok(output)
    }

    async fn on_shutdown(&mut self) -> Continues {
        if let Some(goodbye) = self.config.live.goodbye() {
            self.packets.send(goodbye).await?;
        }
        Ok(self.config.live.lingers() && !self.packets.ended())
    }

    fn execute(&mut self, command: Command) -> bool {
        match command {
            Command::Ask(answer) => drop(answer.send(self.count.get())),
            Command::NoOp => {}
        }
        true
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
        if let Some(tokens) = &mut self.tokens {
            tokens.take();
        }
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
                self.send_last_pushes().await?;
                self.packets.send(text.answer(last)).await?;
                return Ok(false);
            }
            Verb::Fail(why) => {
                self.send_last_pushes().await?;
                self.packets.flush().await?;
                return Err(why.into());
            }
            Verb::Wait(time) => {
                let Some(()) = self.wait(sleep(time)).await? else { return Ok(false) };
                text.answer("waited")
            }
            Verb::Block(time) => {
                let place = self.config.clone();
                let job = async move {
                    let place = place.blocking.place().await;
                    let job = move || {
                        std::thread::sleep(time);
                        // Also of a connection that has ended meanwhile.
                        drop(place);
                    };
                    tokio::task::spawn_blocking(job).await
                };
                let Some(done) = self.wait(job).await? else { return Ok(false) };
                done?;
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
            Verb::Messaging(verb) => {
                let leaves = matches!(verb, MessagingVerb::Leave(_));
                let (socket, packet_text) = (self.packets.socket(), &self.config.packet_text);
                let answer = self.memberships.run(verb, &text, &mut SocketMessenger { socket, packet_text });
                if leaves {
                    // What was published before comes before the answer.
                    self.take_pushes().await?;
                }
                answer
            }
            Verb::Flood(packets) => {
                for _ in 0..packets {
                    self.take_pushes().await?;
                    if self.outbox.is_closed() {
                        return Ok(false);
                    }
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
