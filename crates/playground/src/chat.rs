//! The handler `chat`: each line goes to all others.
//!
//! The guests are the members of one topic. A nick is a registered name, so that no two guests have the same, and the label of
//! the connection.

use std::sync::Arc;

use actix_acceptor::{Closed, Conn, ConnectionInfo, Framing, Next, Protocol, Timeout, Topic};
use bytes::Bytes;
use tokio::time::Instant;

use crate::handlers::{Controllable, ServerConfig};
use crate::messaging::MAX_NAME;

const ROOM: &str = "chat";

/// A chat connection.
pub struct Chat {
    config: Arc<ServerConfig>,
    packets: u64,
    name: String,
    /// `None` before it has joined, and once the others know that it has left.
    room: Option<Topic<Chat>>,
}

impl Chat {
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Chat { config, packets: 0, name: String::new(), room: None }
    }

    /// Makes the guest known. Joins first: of two guests that join at the same time, at least one is announced to the other.
    fn join(&mut self, conn: &mut Conn<Self>) {
        let room = conn.pool().topic(ROOM);
        self.name = format!("guest-{}", conn.id());
        // It is free: other guests cannot choose it.
        let _ = conn.register(&self.name);
        conn.set_label(&self.name);
        conn.join(&room);
        room.publish_except(conn.id(), format!("* {} joined", self.name));
        self.room = Some(room);
    }

    fn say(&self, line: &[u8], ending: &[u8], conn: &Conn<Self>) {
        if let Some(room) = &self.room {
            room.publish_except(conn.id(), [self.name.as_bytes(), b": ", line, ending].concat());
        }
    }

    /// Changes the name. The error is the answer to the guest.
    fn rename(&mut self, name: &str, conn: &mut Conn<Self>) -> Result<(), &'static str> {
        if name.is_empty() || name.contains(' ') {
            return Err("usage: /nick NAME");
        }
        if name.len() > MAX_NAME {
            return Err("that name is too long");
        }
        let is_of_another = is_guest_name(name) && name != format!("guest-{}", conn.id());
        if is_of_another || conn.register(name).is_err() {
            return Err("that name is taken");
        }
        conn.set_label(name);
        let former = std::mem::replace(&mut self.name, name.to_owned());
        if former != name {
            conn.unregister(former);
        }
        Ok(())
    }

    /// The names of all guests. By their labels: a guest that changes its name has two registered names for a moment.
    fn who(&self, conn: &Conn<Self>) -> String {
        let pool = conn.pool();
        let members = self.room.as_ref().map(Topic::members).unwrap_or_default();
        let labels = members.into_iter().filter_map(|id| pool.connection(id)?.info().label);
        let mut names: Vec<_> = labels.collect();
        names.sort_unstable();
        names.join(" ")
    }

    /// Announces that the guest has left.
    fn announce_leave(&mut self) {
        if let Some(room) = self.room.take() {
            room.publish(format!("* {} left", self.name));
        }
    }
}

/// Whether this is the name of a guest that has not chosen one.
fn is_guest_name(name: &str) -> bool {
    let id = name.strip_prefix("guest-");
    id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Protocol for Chat {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        if let Some(greeting) = self.config.live.greeting() {
            conn.push(greeting);
        }
        self.join(conn);
        Next::Continue
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.packets += 1;
        let text = self.config.packet_text.text(&packet);
        let line = String::from_utf8_lossy(&text.text);
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("/quit", "") => {
                // Before `closed`, which is called when the rest has been sent.
                if let Some(room) = &self.room {
                    conn.leave(room);
                }
                self.announce_leave();
                Next::Stop
            }
            ("/who", "") => Next::Send(text.answer(self.who(conn))),
            ("/nick", name) => match self.rename(name.trim(), conn) {
                Ok(()) => Next::Continue,
                Err(why) => Next::Send(text.answer(why)),
            },
            _ => {
                self.say(&text.text, &text.ending, conn);
                Next::Continue
            }
        }
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.config.live.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        let next = self.config.live.on_shutdown(conn);
        if !matches!(next, Next::Continue) {
            // All guests leave now, so it is not announced.
            self.room = None;
        }
        next
    }

    /// Called after the connection has left its topics.
    fn closed(&mut self, _: &Closed, _: &ConnectionInfo) {
        self.announce_leave();
    }
}

impl Controllable for Chat {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn no_op() {}
}
