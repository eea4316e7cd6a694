//! The handlers `echo` and `loop`: the same behavior as a struct with callbacks and as a pair of closures.

use std::sync::Arc;

use actix_acceptor::{handlers::EventLoop, Active, Conn, Event, Framing, Init, Next, Protocol, Timeout};
use bytes::Bytes;
use futures::stream;
use tokio::time::Instant;

use crate::handlers::{Controllable, ServerConfig};
use crate::messaging::Memberships;
use crate::security::describe;
use crate::verb::{Text, Verb};

/// Messages to an echo connection, from the console and from the connection itself.
#[derive(Clone, Debug)]
pub enum EchoMessage {
    /// Has no effect.
    NoOp,
    /// Sends a packet.
    Send(Bytes),
    /// Reads the socket again.
    ResumeReading,
    /// Sends the next packet of a flood.
    FloodPacket,
    /// Ends the flood with this line ending.
    FloodEnd(Bytes),
}

/// An echo connection.
#[derive(Debug)]
pub struct Echo {
    config: Arc<ServerConfig>,
    packets: u64,
    memberships: Memberships,
    flooding: bool,
    /// The pool has begun to shut down during a flood.
    shutdown_pending: bool,
}

/// A protocol that can run an [`Echo`].
pub trait EchoProtocol: Protocol<Codec = Framing, Reply = Bytes, User = EchoMessage> {}
impl<P: Protocol<Codec = Framing, Reply = Bytes, User = EchoMessage>> EchoProtocol for P {}

impl Echo {
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Echo { config, packets: 0, memberships: Memberships::default(), flooding: false, shutdown_pending: false }
    }

    #[inline]
    fn on_packet<P: EchoProtocol>(&mut self, packet: Bytes, conn: &mut Conn<P>) -> Next<P> {
        self.packets += 1;
        match self.config.packet_text.verb(&packet) {
            None => Next::Send(packet),
            Some((verb, text)) => self.run_verb(verb, text, conn),
        }
    }

    fn run_verb<P: EchoProtocol>(&mut self, verb: Verb, text: Text, conn: &mut Conn<P>) -> Next<P> {
        match verb {
            Verb::Count => Next::Send(text.answer(self.packets.to_string())),
            Verb::Id => Next::Send(text.answer(conn.id().to_string())),
            Verb::Peer => Next::Send(text.answer(conn.peer().to_string())),
            Verb::Tls => Next::Send(text.answer(describe(conn.tls()))),
            Verb::StartTls => match &self.config.security.tls {
                Some(tls) if conn.tls().is_none() => {
                    conn.push(text.answer("go ahead"));
                    Next::upgrade(tls.clone())
                }
                _ => Next::Send(text.answer("unsupported")),
            },
            Verb::Panic => panic!("requested by the peer"),
            Verb::Stop => Next::Stop,
            Verb::Bye(last) => Next::SendAndStop(text.answer(last)),
            Verb::Fail(why) => Next::fail(why),
            Verb::Wait(time) => conn.wait(tokio::time::sleep(time), move |(), _, _| Next::Send(text.answer("waited"))),
            Verb::Block(time) => {
                conn.blocking(move || std::thread::sleep(time), move |(), _, _| Next::Send(text.answer("blocked")))
            }
            Verb::Spawn(time) => {
                let later = text.answer("later");
                conn.spawn(tokio::time::sleep(time), move |(), _, _| Next::Send(later));
                Next::Send(text.answer("spawned"))
            }
            Verb::After(time, later) => {
                conn.after(time, EchoMessage::Send(text.answer(later)));
                Next::Continue
            }
            Verb::Passive(time) => {
                conn.set_active(Active::Passive);
                conn.after(time, EchoMessage::ResumeReading);
                Next::Send(text.answer("passive"))
            }
            Verb::Flood(packets) => self.flood(packets, text, conn),
            Verb::Messaging(verb) => Next::Send(self.memberships.run(verb, &text, conn)),
        }
    }

    /// A flood is a stream of messages. A connection takes messages only below its high-water mark. The socket is passive
    /// during the flood, so later packets are answered after it.
    fn flood<P: EchoProtocol>(&mut self, packets: u64, text: Text, conn: &mut Conn<P>) -> Next<P> {
        self.flooding = true;
        conn.set_active(Active::Passive);
        let flood = (0..packets).map(|_| EchoMessage::FloodPacket).chain([EchoMessage::FloodEnd(text.ending)]);
        conn.add_stream(stream::iter(flood));
        Next::Continue
    }

    fn on_message<P: EchoProtocol>(&mut self, message: EchoMessage, conn: &mut Conn<P>) -> Next<P> {
        match message {
            EchoMessage::NoOp => Next::Continue,
            EchoMessage::Send(packet) => Next::Send(packet),
            EchoMessage::ResumeReading => {
                conn.set_active(Active::Always);
                Next::Continue
            }
            EchoMessage::FloodPacket => Next::Send(self.config.packet_text.flood.clone()),
            EchoMessage::FloodEnd(ending) => {
                self.flooding = false;
                conn.set_active(Active::Always);
                if !ending.is_empty() {
                    conn.push(ending);
                }
                if self.shutdown_pending {
                    self.config.live.on_shutdown(conn)
                } else {
                    Next::Continue
                }
            }
        }
    }

    fn on_shutdown<P: EchoProtocol>(&mut self, conn: &mut Conn<P>) -> Next<P> {
        if self.flooding {
            self.shutdown_pending = true;
            return Next::Continue;
        }
        self.config.live.on_shutdown(conn)
    }
}

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = EchoMessage;

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.config.live.send_greeting()
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.on_packet(packet, conn)
    }

    fn user(&mut self, message: EchoMessage, conn: &mut Conn<Self>) -> Next<Self> {
        self.on_message(message, conn)
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.config.live.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.on_shutdown(conn)
    }
}

/// The same as a pair of closures: one makes the state of a connection, the other handles its events.
pub type EchoEvents = EventLoop<Echo, EchoMessage>;

pub fn on_init(config: &Arc<ServerConfig>) -> Init<Echo, EchoMessage> {
    Init::new(Echo::new(config.clone())).with_messages()
}

pub fn on_event(echo: &mut Echo, event: Event<EchoEvents>, conn: &mut Conn<EchoEvents>) -> Next<EchoEvents> {
    match event {
        Event::Ack => echo.config.live.send_greeting(),
        Event::Packet(packet) => echo.on_packet(packet, conn),
        Event::User(message) => echo.on_message(message, conn),
        Event::Timeout(timeout) => echo.config.live.on_timeout(timeout),
        Event::Shutdown(_) => echo.on_shutdown(conn),
        event => event.default_next(),
    }
}

impl Controllable for Echo {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn no_op() -> EchoMessage {
        EchoMessage::NoOp
    }
}

impl Controllable for EchoEvents {
    fn packets(&mut self) -> u64 {
        self.state().map_or(0, |echo| echo.packets)
    }

    fn no_op() -> EchoMessage {
        EchoMessage::NoOp
    }
}
