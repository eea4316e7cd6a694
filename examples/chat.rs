//! A chat server. A room is a topic, and guests are found by name; no hub actor keeps track of the connections.
//! Try it: `cargo run --example chat`, then `nc 127.0.0.1 7878` in two terminals. An argument replaces the address.

use actix_acceptor::{prelude::*, SendError};
use bytes::Bytes;

const HELP: &str = "/join ROOM, /nick NAME, /tell NAME TEXT, /who, /quit";

/// The state of one connection.
struct Guest {
    name: String,
    room: Option<Topic<Guest>>,
}

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.welcome(conn).unwrap_or_else(Next::fail)
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.handle(&String::from_utf8_lossy(&line), conn).unwrap_or_else(Next::fail)
    }

    /// The connection has already left its room and released its name, whatever the reason.
    fn closed(&mut self, _: &Closed, info: &ConnectionInfo) {
        if let Err(error) = self.say(info.id, format!("* {} left", self.name)) {
            eprintln!("{}: {error}", info.peer);
        }
    }
}

impl Guest {
    fn welcome(&mut self, conn: &mut Conn<Self>) -> Result<Next<Self>, BoxError> {
        conn.register(&self.name)?;
        self.enter("lobby", conn)?;
        Ok(Next::send(format!("you are {}; {HELP}", self.name)))
    }

    fn handle(&mut self, line: &str, conn: &mut Conn<Self>) -> Result<Next<Self>, SendError> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "/join" if is_name(rest) => {
                self.enter(rest, conn)?;
                Ok(Next::send(format!("you are in {rest}")))
            }
            "/nick" if is_name(rest) && rest != self.name => {
                if let Err(NameTaken) = conn.register(rest) {
                    return Ok(Next::send("that name is taken"));
                }
                conn.unregister(&self.name);
                self.say(conn.id(), format!("* {} is now {rest}", self.name))?;
                self.name = rest.to_owned();
                Ok(Next::send(format!("you are {rest}")))
            }
            "/tell" => {
                let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let Some(guest) = conn.pool().whereis(name) else { return Ok(Next::send("no such guest")) };
                match guest.send(format!("{} tells you: {text}", self.name)) {
                    Ok(()) => Ok(Next::Continue),
                    Err(error) => Ok(Next::send(error.to_string())),
                }
            }
            "/who" => Ok(Next::send(conn.pool().names().join(" "))),
            "/quit" => Ok(Next::Stop),
            _ if line.starts_with('/') => Ok(Next::send(HELP)),
            _ => self.say(conn.id(), format!("{}: {line}", self.name)).map(|()| Next::Continue),
        }
    }

    /// Leaves the current room, if any, and joins another.
    fn enter(&mut self, room: &str, conn: &mut Conn<Self>) -> Result<(), SendError> {
        self.say(conn.id(), format!("* {} left", self.name))?;
        if let Some(room) = self.room.take() {
            conn.leave(&room);
        }
        let room = self.room.insert(conn.pool().topic(room));
        conn.join(room);
        self.say(conn.id(), format!("* {} joined", self.name))
    }

    /// Sends a line to the others in the room.
    fn say(&self, me: ConnectionId, line: String) -> Result<(), SendError> {
        let published = self.room.as_ref().map(|room| room.publish_except(me, line));
        published.and_then(|published| published.error).map_or(Ok(()), Err)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphanumeric)
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let pool = AcceptorPool::with_protocol(|peer| Guest { name: format!("guest-{}", peer.id), room: None })
        .framing(Framing::lines())
        .idle_timeout(None)
        .bind(address)
        .await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}
