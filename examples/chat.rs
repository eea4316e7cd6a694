//! A chat server. A room is a topic, and guests are found by name; no hub actor keeps track of the connections.
//! Try it: `cargo run --example chat`, then `nc 127.0.0.1 7878` in two terminals. An argument replaces the address.

use std::time::Duration;

use actix_acceptor::{handlers::ProtocolService, prelude::*, SendError};
use bytes::Bytes;

const HELP: &str = "/join ROOM, /nick NAME, /tell NAME TEXT, /who, /quit";

/// Guests that send nothing for this time are disconnected.
const SILENCE: Duration = Duration::from_secs(60 * 60);

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

    fn timeout(&mut self, timeout: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        match timeout {
            Timeout::Idle => Next::send_and_stop("you were silent for an hour"),
            _ => Next::send_and_stop("that line has no end"),
        }
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

/// The pool of the server and of its tests.
fn chat() -> Builder<ProtocolService<Guest>> {
    AcceptorPool::with_protocol(|peer| Guest { name: format!("guest-{}", peer.id), room: None })
        .framing(Framing::lines())
        .idle_timeout(SILENCE)
}

#[actix::main]
async fn main() -> Result<(), MainError> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let pool = chat().bind(address).await?;
    println!("listening on {}", pool.name());
    Ok(pool.stopped().await?)
}

/// `cargo test -p actix-acceptor-examples --test chat`. The package enables the feature `testing` in `[dev-dependencies]`.
#[cfg(test)]
mod tests {
    use actix_acceptor::testing::{Callback, FramedClient, Harness, NextKind};

    use super::*;

    /// Connects a guest, and skips the welcome.
    async fn guest(harness: &Harness<Connection<Guest>>) -> FramedClient<Framing> {
        let mut guest = harness.connect().await.framed(Framing::lines());
        assert!(guest.receive().await.starts_with(b"you are guest-"));
        guest
    }

    #[actix::test]
    async fn guests_of_a_room_read_each_other() {
        let harness = Harness::start(chat()).await;
        let mut ann = guest(&harness).await;
        let mut bob = guest(&harness).await;
        ann.expect("* guest-2 joined").await;
        ann.say("hello").await;
        bob.expect("guest-1: hello").await;
        bob.say("/join garden").await;
        bob.expect("you are in garden").await;
        ann.expect("* guest-2 left").await;
        ann.say("anybody here?").await;
        bob.silence(Duration::from_secs(1)).await;
        harness.end().await;
    }

    #[actix::test]
    async fn a_name_belongs_to_one_guest() {
        let harness = Harness::start(chat()).await;
        let (mut ann, mut bob) = (guest(&harness).await, guest(&harness).await);
        ann.expect("* guest-2 joined").await;
        ann.say("/nick ann").await;
        ann.expect("you are ann").await;
        bob.expect("* guest-1 is now ann").await;
        bob.say("/nick ann").await;
        bob.expect("that name is taken").await;
        bob.say("/tell ann good morning").await;
        ann.expect("guest-2 tells you: good morning").await;
        // The name is free as soon as its guest has left.
        ann.reset().await;
        bob.expect("* ann left").await;
        bob.say("/nick ann").await;
        bob.expect("you are ann").await;
        harness.end().await;
    }

    #[actix::test]
    async fn silent_guests_have_to_leave() {
        let harness = Harness::start(chat()).await;
        let mut ann = guest(&harness).await;
        harness.advance(SILENCE / 2).await;
        let mut bob = guest(&harness).await;
        ann.expect("* guest-2 joined").await;
        // Ann only listens.
        bob.say("hello").await;
        ann.expect("guest-2: hello").await;
        ann.silence(SILENCE / 2).await;
        // Timeouts are at most a tenth late.
        harness.advance(SILENCE / 10).await;
        assert_eq!(ann.end().await, ["you were silent for an hour"]);
        bob.expect("* guest-1 left").await;
        harness.end().await;
    }

    #[actix::test]
    async fn a_guest_is_in_one_room() {
        let harness = Harness::start(chat()).await;
        let mut guest = harness.stepper().await;
        let step = guest.run().await;
        assert_eq!(step.calls, [(Callback::Init, NextKind::Continue), (Callback::Ack, NextKind::Send)]);
        assert_eq!((guest.topics(), guest.names()), (vec!["lobby".into()], vec!["guest-1".into()]));
        let step = guest.packet("/join garden").await;
        assert_eq!(step.replies(Framing::lines()), ["you are in garden"]);
        assert_eq!(guest.topics(), ["garden".into()]);
        guest.packet("/nick ann").await;
        assert_eq!((&*guest.protocol().name, guest.names()), ("ann", vec!["ann".into()]));
        assert_eq!(guest.packet("/quit").await.nexts(), [NextKind::Stop]);
        harness.end().await;
    }
}
