//! The verbs about topics, names and labels.

use actix_acceptor::{Conn, Outbox, OutboxError, Socket};
use bytes::Bytes;

use crate::echo::EchoProtocol;
use crate::verb::{PacketText, Text};

/// Highest number of topics, and of names, that one connection may have.
const MAX_MEMBERSHIPS: usize = 10_000;
/// Longest topic, name or label, in bytes.
pub const MAX_NAME: usize = 4096;

#[derive(Clone, Debug)]
pub enum MessagingVerb {
    Join(String),
    Leave(String),
    Publish(String, Bytes),
    Register(String),
    Take(String),
    Tell(String, Bytes),
    Label(String),
}

impl MessagingVerb {
    /// Parses what follows the word and a space. `None` if a topic, a name or a text is missing.
    pub fn parse(word: &[u8], rest: &Bytes) -> Option<Self> {
        let space = rest.iter().position(|byte| *byte == b' ');
        // A topic or name ends at the first space.
        let name = || {
            let name = std::str::from_utf8(&rest[..space.unwrap_or(rest.len())]).ok()?;
            Some(name.to_owned()).filter(|name| !name.is_empty())
        };
        let text = || space.map(|at| rest.slice(at + 1..));
        Some(match word {
            b"!join" => MessagingVerb::Join(name()?),
            b"!leave" => MessagingVerb::Leave(name()?),
            b"!pub" => MessagingVerb::Publish(name()?, text()?),
            b"!name" => MessagingVerb::Register(name()?),
            b"!take" => MessagingVerb::Take(name()?),
            b"!tell" => MessagingVerb::Tell(name()?, text()?),
            b"!label" => MessagingVerb::Label(String::from_utf8_lossy(rest).into_owned()),
            _ => return None,
        })
    }

    /// The topic, name or label.
    fn name(&self) -> &str {
        match self {
            MessagingVerb::Join(name)
            | MessagingVerb::Leave(name)
            | MessagingVerb::Publish(name, _)
            | MessagingVerb::Register(name)
            | MessagingVerb::Take(name)
            | MessagingVerb::Tell(name, _)
            | MessagingVerb::Label(name) => name,
        }
    }
}

/// A connection as the verbs use it.
pub trait Messenger {
    /// Returns false if it is a member already.
    fn join(&mut self, topic: &str) -> bool;

    /// Returns false if it is not a member.
    fn leave(&mut self, topic: &str) -> bool;

    fn is_member(&self, topic: &str) -> bool;

    /// Sends a packet to the other members. Returns how many accepted it.
    fn publish(&self, topic: &str, packet: Bytes) -> usize;

    /// Returns false if another connection has the name.
    fn register(&mut self, name: &str) -> bool;

    /// Registers a name, also if another connection has it. Always returns true.
    fn take(&mut self, name: &str) -> bool;

    fn has_name(&self, name: &str) -> bool;

    /// Sends a packet to the connection with this name. Returns false if there is none, or if it is closing.
    fn tell(&self, name: &str, packet: Bytes) -> bool;

    fn set_label(&mut self, label: &str);
}

/// The number of topics and names of a connection: a peer chooses them.
#[derive(Debug, Default)]
pub struct Memberships {
    topics: usize,
    names: usize,
}

impl Memberships {
    /// Executes a verb and returns its answer.
    pub fn run(&mut self, verb: MessagingVerb, text: &Text, conn: &mut impl Messenger) -> Bytes {
        if verb.name().len() > MAX_NAME {
            return text.answer("too long");
        }
        let answer = match verb {
            MessagingVerb::Join(topic) => self.join(&topic, conn),
            MessagingVerb::Leave(topic) => {
                self.topics -= usize::from(conn.leave(&topic));
                "left"
            }
            MessagingVerb::Publish(topic, packet) => {
                // Packets for others end as the verb did.
                return text.answer(format!("ok {}", conn.publish(&topic, text.answer(packet))));
            }
            MessagingVerb::Register(name) => self.add_name(&name, conn, |conn| conn.register(&name)),
            MessagingVerb::Take(name) => self.add_name(&name, conn, |conn| conn.take(&name)),
            MessagingVerb::Tell(name, packet) => match conn.tell(&name, text.answer(packet)) {
                true => "ok",
                false => "gone",
            },
            MessagingVerb::Label(label) => {
                conn.set_label(&label);
                "ok"
            }
        };
        text.answer(answer)
    }

    fn join<C: Messenger>(&mut self, topic: &str, conn: &mut C) -> &'static str {
        if self.topics >= MAX_MEMBERSHIPS && !conn.is_member(topic) {
            return "too many topics";
        }
        self.topics += usize::from(conn.join(topic));
        "joined"
    }

    fn add_name<C: Messenger>(&mut self, name: &str, conn: &mut C, add: impl FnOnce(&mut C) -> bool) -> &'static str {
        if conn.has_name(name) {
            return "ok";
        }
        if self.names >= MAX_MEMBERSHIPS {
            return "too many names";
        }
        if !add(conn) {
            return "taken";
        }
        self.names += 1;
        "ok"
    }
}

/// Whether a packet was accepted by an outbox. One that is left out because the peer reads too slowly counts as accepted: the
/// connection is not gone.
pub fn is_accepted<P, R>(outbox: &Outbox<P>, sent: Result<(), OutboxError<R>>) -> bool {
    sent.is_ok() || !outbox.is_closed()
}

impl<P: EchoProtocol> Messenger for Conn<P> {
    fn join(&mut self, topic: &str) -> bool {
        let topic = self.pool().topic(topic);
        Conn::join(self, &topic)
    }

    fn leave(&mut self, topic: &str) -> bool {
        let topic = self.pool().topic(topic);
        Conn::leave(self, &topic)
    }

    fn is_member(&self, topic: &str) -> bool {
        self.pool().topic(topic).members().binary_search(&self.id()).is_ok()
    }

    fn publish(&self, topic: &str, packet: Bytes) -> usize {
        self.pool().topic(topic).publish_except(self.id(), packet).members
    }

    fn register(&mut self, name: &str) -> bool {
        Conn::register(self, name).is_ok()
    }

    fn take(&mut self, name: &str) -> bool {
        self.register_replacing(name);
        true
    }

    fn has_name(&self, name: &str) -> bool {
        self.pool().whereis(name).is_some_and(|owner| owner.id() == self.id())
    }

    fn tell(&self, name: &str, packet: Bytes) -> bool {
        let outbox = self.pool().whereis(name).map(|owner| owner.outbox());
        outbox.is_some_and(|outbox| is_accepted(&outbox, outbox.send(packet)))
    }

    fn set_label(&mut self, label: &str) {
        Conn::set_label(self, label);
    }
}

/// A connection of a handler that owns its socket.
pub struct SocketMessenger<'a> {
    pub socket: &'a Socket,
    pub packet_text: &'a PacketText,
}

impl Messenger for SocketMessenger<'_> {
    fn join(&mut self, topic: &str) -> bool {
        self.socket.join(&self.socket.pool().topic(topic))
    }

    fn leave(&mut self, topic: &str) -> bool {
        self.socket.leave(&self.socket.pool().topic(topic))
    }

    fn is_member(&self, topic: &str) -> bool {
        self.socket.pool().topic(topic).members().binary_search(&self.socket.id()).is_ok()
    }

    fn publish(&self, topic: &str, packet: Bytes) -> usize {
        let packet = self.packet_text.encode(packet);
        self.socket.pool().topic(topic).publish_except(self.socket.id(), packet).members
    }

    fn register(&mut self, name: &str) -> bool {
        self.socket.register(name).is_ok()
    }

    fn take(&mut self, name: &str) -> bool {
        self.socket.register_replacing(name);
        true
    }

    fn has_name(&self, name: &str) -> bool {
        self.socket.pool().whereis(name).is_some_and(|owner| owner.id() == self.socket.id())
    }

    fn tell(&self, name: &str, packet: Bytes) -> bool {
        let outbox = self.socket.pool().whereis(name).map(|owner| owner.outbox());
        outbox.is_some_and(|outbox| is_accepted(&outbox, outbox.send(self.packet_text.encode(packet))))
    }

    fn set_label(&mut self, label: &str) {
        self.socket.set_label(label);
    }
}
