//! The handlers `echo` and `loop`: one behaviour, as a struct with callbacks and as a closure pair.

use std::sync::Arc;
use std::time::Instant;

use actix_acceptor::{handlers::EventLoop, Active, Conn, Event, Framing, Init, Next, Protocol, Timeout};
use bytes::Bytes;
use futures::{stream, FutureExt};

use crate::doors::{Setting, Watched};
use crate::security::describe;
use crate::verbs::{Text, Verb};

/// Messages to an echoing connection: of the console's, and of its own.
#[derive(Clone, Debug)]
pub enum Note {
    /// Sends back nothing.
    Nothing,
    /// The socket may be read again.
    ReadAgain,
    /// The next packet of a flood.
    Pour,
    /// The flood is over; this is how its answer ends.
    Poured(Bytes),
}

/// An echoing connection.
pub struct Echo {
    setting: Arc<Setting>,
    packets: u64,
    pouring: bool,
    /// Told to shut down while pouring.
    leaves: bool,
}

/// Any connection that can behave as an [`Echo`].
pub trait Echoing: Protocol<Codec = Framing, Reply = Bytes, User = Note> {}
impl<P: Protocol<Codec = Framing, Reply = Bytes, User = Note>> Echoing for P {}

impl Echo {
    pub fn new(setting: Arc<Setting>) -> Self {
        Echo { setting, packets: 0, pouring: false, leaves: false }
    }

    #[inline]
    fn on_packet<P: Echoing>(&mut self, packet: Bytes, conn: &mut Conn<P>) -> Next<P> {
        self.packets += 1;
        match self.setting.dialect.verb(&packet) {
            None => Next::Send(packet),
            Some((verb, text)) => self.obey(verb, text, conn),
        }
    }

    fn obey<P: Echoing>(&mut self, verb: Verb, text: Text, conn: &mut Conn<P>) -> Next<P> {
        match verb {
            Verb::Count => Next::Send(text.answer(self.packets.to_string())),
            Verb::Id => Next::Send(text.answer(conn.id().to_string())),
            Verb::Peer => Next::Send(text.answer(conn.peer().to_string())),
            Verb::Tls => Next::Send(text.answer(describe(conn.tls()))),
            Verb::StartTls => match &self.setting.security.tls {
                Some(tls) if conn.tls().is_none() => match conn.send(text.answer("go ahead")) {
                    Ok(()) => Next::upgrade(tls.clone()),
                    Err(error) => Next::fail(error),
                },
                _ => Next::Send(text.answer("unsupported")),
            },
            Verb::Panic => panic!("the peer asked for it"),
            Verb::Stop => Next::Stop,
            Verb::Bye(last) => Next::SendAndStop(text.answer(last)),
            Verb::Fail(why) => Next::fail(why),
            Verb::Wait(time) => conn.wait(tokio::time::sleep(time), move |(), _, _| Next::Send(text.answer("waited"))),
            Verb::Passive(time) => {
                conn.set_active(Active::Passive);
                conn.add_stream(tokio::time::sleep(time).map(|()| Note::ReadAgain).into_stream());
                Next::Send(text.answer("passive"))
            }
            Verb::Flood(packets) => self.pour(packets, text, conn),
        }
    }

    /// A flood is poured out by messages, which a connection takes in only while it is below its high-water mark. The
    /// socket is passive meanwhile, so the packets behind are answered behind.
    fn pour<P: Echoing>(&mut self, packets: u64, text: Text, conn: &mut Conn<P>) -> Next<P> {
        self.pouring = true;
        conn.set_active(Active::Passive);
        let flood = (0..packets).map(|_| Note::Pour).chain([Note::Poured(text.ending)]);
        conn.add_stream(stream::iter(flood));
        Next::Continue
    }

    fn on_note<P: Echoing>(&mut self, note: Note, conn: &mut Conn<P>) -> Next<P> {
        match note {
            Note::Nothing => Next::Continue,
            Note::ReadAgain => {
                conn.set_active(Active::Always);
                Next::Continue
            }
            Note::Pour => Next::Send(self.setting.dialect.flood.clone()),
            Note::Poured(ending) => {
                self.pouring = false;
                conn.set_active(Active::Always);
                if !ending.is_empty() {
                    if let Err(error) = conn.send(ending) {
                        return Next::fail(error);
                    }
                }
                if self.leaves {
                    self.setting.manners.take_leave(conn)
                } else {
                    Next::Continue
                }
            }
        }
    }

    fn on_shutdown<P: Echoing>(&mut self, conn: &mut Conn<P>) -> Next<P> {
        if self.pouring {
            self.leaves = true;
            return Next::Continue;
        }
        self.setting.manners.take_leave(conn)
    }
}

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Note;

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.greet()
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.on_packet(packet, conn)
    }

    fn user(&mut self, note: Note, conn: &mut Conn<Self>) -> Next<Self> {
        self.on_note(note, conn)
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.on_shutdown(conn)
    }
}

/// The same by the door `events`: what makes a connection's state, and what is called with every event.
pub type EchoEvents = EventLoop<Echo, Note>;

pub fn on_init(setting: &Arc<Setting>) -> Init<Echo, Note> {
    Init::new(Echo::new(setting.clone())).with_messages()
}

pub fn on_event(echo: &mut Echo, event: Event<EchoEvents>, conn: &mut Conn<EchoEvents>) -> Next<EchoEvents> {
    match event {
        Event::Ack => echo.setting.manners.greet(),
        Event::Packet(packet) => echo.on_packet(packet, conn),
        Event::User(note) => echo.on_note(note, conn),
        Event::Timeout(timeout) => echo.setting.manners.on_timeout(timeout),
        Event::Shutdown(_) => echo.on_shutdown(conn),
        event => event.default_next(),
    }
}

impl Watched for Echo {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn nothing() -> Note {
        Note::Nothing
    }
}

impl Watched for EchoEvents {
    fn packets(&mut self) -> u64 {
        self.state().map_or(0, |echo| echo.packets)
    }

    fn nothing() -> Note {
        Note::Nothing
    }
}
