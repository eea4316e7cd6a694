//! A chat server. A hub actor holds the address of each connection. Try it:
//! `cargo run --example chat`, then `nc 127.0.0.1 7000` in two terminals; `/nick NAME`, `/who`, `/quit`.

use std::collections::BTreeMap;

use actix::prelude::*;
use actix_acceptor::{
    AcceptorPool, Closed, Conn, Connection, ConnectionId, ConnectionInfo, Framing, Next, Protocol, User,
};
use bytes::Bytes;

/// Knows the connected guests and forwards their lines.
#[derive(Default)]
struct Hub {
    guests: BTreeMap<ConnectionId, Entry>,
}

struct Entry {
    name: String,
    line: Recipient<User<Line>>,
}

/// A line to send to a guest.
#[derive(Clone)]
struct Line(Bytes);

/// Messages from the connections to the hub.
#[derive(Message)]
#[rtype(result = "()")]
enum HubMessage {
    Joined { id: ConnectionId, line: Recipient<User<Line>> },
    Said { id: ConnectionId, text: Bytes },
    Left { id: ConnectionId },
}

impl Actor for Hub {
    type Context = Context<Self>;
}

impl Handler<HubMessage> for Hub {
    type Result = ();

    fn handle(&mut self, message: HubMessage, _: &mut Context<Self>) {
        match message {
            HubMessage::Joined { id, line } => {
                let name = format!("guest-{id}");
                self.send_to_others(id, format!("* {name} joined"));
                self.guests.insert(id, Entry { name, line });
            }
            HubMessage::Said { id, text } => self.said(id, &String::from_utf8_lossy(&text)),
            HubMessage::Left { id } => {
                if let Some(guest) = self.guests.remove(&id) {
                    self.send_to_others(id, format!("* {} left", guest.name));
                }
            }
        }
    }
}

impl Hub {
    fn said(&mut self, id: ConnectionId, text: &str) {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("/who", _) => {
                let mut names: Vec<&str> = self.guests.values().map(|guest| &*guest.name).collect();
                names.sort_unstable();
                self.send(id, names.join(" "));
            }
            ("/nick", name) if !name.trim().is_empty() => {
                if let Some(guest) = self.guests.get_mut(&id) {
                    let old = std::mem::replace(&mut guest.name, name.trim().to_owned());
                    self.send_to_others(id, format!("* {old} is now {}", name.trim()));
                }
            }
            _ => {
                let name = self.guests.get(&id).map_or("guest", |guest| &guest.name);
                self.send_to_others(id, format!("{name}: {text}"));
            }
        }
    }

    fn send(&self, id: ConnectionId, text: String) {
        if let Some(guest) = self.guests.get(&id) {
            guest.send(Line(text.into()));
        }
    }

    fn send_to_others(&self, id: ConnectionId, text: String) {
        let line = Line(text.into());
        self.guests.iter().filter(|(other, _)| **other != id).for_each(|(_, guest)| guest.send(line.clone()));
    }
}

impl Entry {
    /// A guest that does not read misses lines. The queue does not grow.
    fn send(&self, line: Line) {
        let _ = self.line.try_send(User(line));
    }
}

/// The state of one connection.
struct Guest {
    hub: Addr<Hub>,
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Line;

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let address: Addr<Connection<Self>> = conn.address();
        self.hub.do_send(HubMessage::Joined { id: conn.id(), line: address.recipient() });
        Next::Continue
    }

    /// Waits until the hub has handled the line, so a guest cannot flood the hub.
    fn packet(&mut self, text: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if &text[..] == b"/quit" {
            return Next::Stop;
        }
        let said = self.hub.send(HubMessage::Said { id: conn.id(), text });
        conn.wait(said, |_, _, _| Next::Continue)
    }

    fn user(&mut self, line: Line, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(line.0)
    }

    fn closed(&mut self, _: &Closed, info: &ConnectionInfo) {
        self.hub.do_send(HubMessage::Left { id: info.id });
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::default().start();
    let pool = AcceptorPool::with_protocol(move |_| Guest { hub: hub.clone() })
        .framing(Framing::lines())
        .idle_timeout(None)
        .mailbox_capacity(256)
        .bind("127.0.0.1:7000")
        .await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
