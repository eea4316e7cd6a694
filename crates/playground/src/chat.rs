//! The handler `chat`: each line goes to all others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use actix_acceptor::{Closed, Conn, Connection, ConnectionId, Framing, Next, Protocol, Reply, Timeout};
use bytes::Bytes;

use crate::doors::{Setting, Watched};

/// One who chats.
pub struct Chat {
    id: ConnectionId,
    hub: Addr<Hub>,
    setting: Arc<Setting>,
    packets: u64,
}

impl Chat {
    pub fn new(id: ConnectionId, hub: Addr<Hub>, setting: Arc<Setting>) -> Self {
        Chat { id, hub, setting, packets: 0 }
    }

    /// Waits until the hub has done it: so one who sends fast does not fill the hub's mailbox.
    fn tell(&self, deed: Deed, conn: &mut Conn<Self>) -> Next<Self> {
        let told = self.hub.send(Told { id: self.id, deed });
        conn.wait(told, |answer, _, _| match answer {
            Ok(Some(answer)) => Next::Send(answer),
            Ok(None) => Next::Continue,
            Err(error) => Next::fail(error),
        })
    }
}

impl Protocol for Chat {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        if let Some(Err(error)) = self.setting.manners.greeting().map(|greeting| conn.send(greeting)) {
            return Next::fail(error);
        }
        self.tell(Deed::Join(conn.address()), conn)
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.packets += 1;
        let line = String::from_utf8_lossy(&self.setting.dialect.text(&packet).text).into_owned();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("/quit", "") => Next::Stop,
            ("/who", "") => self.tell(Deed::Who, conn),
            ("/nick", name) => self.tell(Deed::Nick(name.trim().to_owned()), conn),
            _ => self.tell(Deed::Say(line), conn),
        }
    }

    /// What it waits for is still told to one who pipes lines in and shuts its side: see `doors`.
    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        if self.setting.options.half_close {
            Next::Continue
        } else {
            Next::Stop
        }
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.setting.manners.take_leave(conn)
    }

    fn closed(&mut self, _: &Closed) {
        self.hub.do_send(Told { id: self.id, deed: Deed::Leave });
    }
}

impl Watched for Chat {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn nothing() {}
}

/// Knows everybody who chats.
#[derive(Default)]
pub struct Hub {
    members: BTreeMap<ConnectionId, Member>,
}

struct Member {
    name: String,
    address: Addr<Connection<Chat>>,
}

/// What somebody does; answered with what only they are to read.
#[derive(Message)]
#[rtype(result = "Option<Bytes>")]
struct Told {
    id: ConnectionId,
    deed: Deed,
}

enum Deed {
    Join(Addr<Connection<Chat>>),
    Say(String),
    Nick(String),
    Who,
    Leave,
}

impl Hub {
    /// How many lines may wait for a member that does not read, before it is cut off.
    pub const BACKLOG: usize = 4096;

    pub fn open() -> Addr<Hub> {
        Hub::default().start()
    }

    fn tell_others(&mut self, id: ConnectionId, line: String) {
        let line = Bytes::from(line);
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let slow: Vec<_> = others
            .filter(|(_, member)| matches!(member.address.try_send(Reply(line.clone())), Err(SendError::Full(_))))
            .map(|(other, _)| *other)
            .collect();
        for id in slow {
            self.leave(id);
        }
    }

    fn leave(&mut self, id: ConnectionId) {
        if let Some(member) = self.members.remove(&id) {
            member.address.do_send(actix_acceptor::messages::Close);
            self.tell_others(id, format!("* {} left", member.name));
        }
    }
}

impl Actor for Hub {
    type Context = Context<Self>;
}

impl Handler<Told> for Hub {
    type Result = Option<Bytes>;

    fn handle(&mut self, Told { id, deed }: Told, _: &mut Context<Self>) -> Option<Bytes> {
        match deed {
            Deed::Join(address) => {
                let name = format!("guest-{id}");
                self.tell_others(id, format!("* {name} joined"));
                self.members.insert(id, Member { name, address });
            }
            Deed::Say(line) => {
                let name = &self.members.get(&id)?.name;
                self.tell_others(id, format!("{name}: {line}"));
            }
            Deed::Nick(name) if name.is_empty() || name.contains(' ') => return Some("usage: /nick NAME".into()),
            Deed::Nick(name) => self.members.get_mut(&id)?.name = name,
            Deed::Who => {
                let mut names: Vec<_> = self.members.values().map(|member| &*member.name).collect();
                names.sort_unstable();
                return Some(names.join(" ").into());
            }
            Deed::Leave => self.leave(id),
        }
        None
    }
}
