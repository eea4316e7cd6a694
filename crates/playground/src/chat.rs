//! The handler `chat`: each line goes to all others.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::prelude::*;
use actix_acceptor::{Closed, Conn, Connection, ConnectionId, ConnectionInfo, Framing, Next, Protocol, Reply, Timeout};
use bytes::Bytes;
use tokio::time::Instant;

use crate::handlers::{Controllable, ServerConfig};

/// A chat connection.
pub struct Chat {
    hub: Addr<Hub>,
    config: Arc<ServerConfig>,
    packets: u64,
}

impl Chat {
    pub fn new(hub: Addr<Hub>, config: Arc<ServerConfig>) -> Self {
        Chat { hub, config, packets: 0 }
    }

    /// Waits for the hub's answer, so a fast peer cannot fill the hub's mailbox.
    fn request(&self, action: Action, conn: &mut Conn<Self>) -> Next<Self> {
        let request = self.hub.send(HubRequest { id: conn.id(), action });
        conn.wait(request, |answer, _, _| match answer {
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
        if let Some(Err(error)) = self.config.live.greeting().map(|greeting| conn.send(greeting)) {
            return Next::fail(error);
        }
        self.request(Action::Join(conn.address()), conn)
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.packets += 1;
        let line = String::from_utf8_lossy(&self.config.packet_text.text(&packet).text).into_owned();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("/quit", "") => Next::Stop,
            ("/who", "") => self.request(Action::Who, conn),
            ("/nick", name) => self.request(Action::Nick(name.trim().to_owned()), conn),
            _ => self.request(Action::Say(line), conn),
        }
    }

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.config.live.on_timeout(timeout)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.config.live.on_shutdown(conn)
    }

    fn closed(&mut self, _: &Closed, info: &ConnectionInfo) {
        self.hub.do_send(HubRequest { id: info.id, action: Action::Leave });
    }
}

impl Controllable for Chat {
    fn packets(&mut self) -> u64 {
        self.packets
    }

    fn no_op() {}
}

/// Holds all chat connections.
#[derive(Default)]
pub struct Hub {
    members: BTreeMap<ConnectionId, Member>,
}

struct Member {
    name: String,
    address: Addr<Connection<Chat>>,
}

/// An action of a connection. The answer goes to that connection only.
#[derive(Message)]
#[rtype(result = "Option<Bytes>")]
struct HubRequest {
    id: ConnectionId,
    action: Action,
}

enum Action {
    Join(Addr<Connection<Chat>>),
    Say(String),
    Nick(String),
    Who,
    Leave,
}

impl Hub {
    /// How many lines may be queued for a member before it is closed.
    pub const BACKLOG: usize = 4096;

    pub fn start_new() -> Addr<Hub> {
        Hub::default().start()
    }

    fn send_to_others(&mut self, id: ConnectionId, line: String) {
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
            self.send_to_others(id, format!("* {} left", member.name));
        }
    }
}

impl Actor for Hub {
    type Context = Context<Self>;
}

impl Handler<HubRequest> for Hub {
    type Result = Option<Bytes>;

    fn handle(&mut self, HubRequest { id, action }: HubRequest, _: &mut Context<Self>) -> Option<Bytes> {
        match action {
            Action::Join(address) => {
                let name = format!("guest-{id}");
                self.send_to_others(id, format!("* {name} joined"));
                self.members.insert(id, Member { name, address });
            }
            Action::Say(line) => {
                let name = &self.members.get(&id)?.name;
                self.send_to_others(id, format!("{name}: {line}"));
            }
            Action::Nick(name) if name.is_empty() || name.contains(' ') => return Some("usage: /nick NAME".into()),
            Action::Nick(name) => self.members.get_mut(&id)?.name = name,
            Action::Who => {
                let mut names: Vec<_> = self.members.values().map(|member| &*member.name).collect();
                names.sort_unstable();
                return Some(names.join(" ").into());
            }
            Action::Leave => self.leave(id),
        }
        None
    }
}
