//! The load of a fan-out: members of one topic, and a connection that publishes to them.
//!
//! The members are read once the server has become idle. Had they been read before, a delivery to the member that is
//! waited for would wake this process, at the server's expense, and how often would depend on the order of delivery.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::peer::{Peer, Place};
use crate::process::{Clock, Process};

/// What a server is sent to subscribe and to publish, and what arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The servers of this benchmark: the first letter of a line says what to do with it.
    ///
    /// | line | effect |
    /// |---|---|
    /// | `j` | joins the topic; answered by `joined`. With more letters, our server joins another topic |
    /// | `p...` | is published to the topic that `j` joins; not answered |
    /// | `a...` | is published; answered by `ok`; by our server with the number of members and of those that were full |
    /// | anything else | is echoed |
    Verbs,
    /// The example `pubsub`: `SUB` and `PUB`.
    Pubsub,
    /// Redis: `SUBSCRIBE` and `PUBLISH`.
    Redis,
}

impl Dialect {
    /// The request of a member and its answer.
    fn subscribe(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Dialect::Verbs => (b"j\n", b"joined\n"),
            Dialect::Pubsub => (b"SUB lobby\n", b"ok\n"),
            Dialect::Redis => {
                (b"*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nlobby\r\n", b"*3\r\n$9\r\nsubscribe\r\n$5\r\nlobby\r\n:1\r\n")
            }
        }
    }

    fn publish(self, text: &str) -> String {
        match self {
            Dialect::Verbs => format!("p{text}\n"),
            Dialect::Pubsub => format!("PUB lobby {text}\n"),
            Dialect::Redis => {
                format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nlobby\r\n${}\r\n{text}\r\n", text.len())
            }
        }
    }

    /// The answer to the connection that published.
    fn published(self, members: usize) -> String {
        match self {
            Dialect::Verbs => String::new(),
            Dialect::Pubsub => format!("{members}\n"),
            Dialect::Redis => format!(":{members}\r\n"),
        }
    }

    /// What each member receives.
    fn delivery(self, text: &str) -> String {
        match self {
            Dialect::Verbs => format!("p{text}\n"),
            Dialect::Pubsub => format!("lobby {text}\n"),
            Dialect::Redis => {
                format!("*3\r\n$7\r\nmessage\r\n$5\r\nlobby\r\n${}\r\n{text}\r\n", text.len())
            }
        }
    }
}

/// A line number and dots, `len` bytes.
fn text(line: usize, len: usize) -> String {
    format!("{line:.<len$}")
}

/// A topic with its members. Dropping it closes all connections.
pub(crate) struct Members {
    server: Clock,
    members: Vec<Peer>,
    publisher: Peer,
    /// The lines that one write publishes.
    burst: Vec<u8>,
    lines: usize,
    /// The answer to the publisher, and what each member receives.
    answer: Vec<u8>,
    delivery: Vec<u8>,
}

impl Members {
    /// Opens `count` members. A write of the publisher consists of `lines` lines, each 64 B as the servers of this
    /// benchmark send it.
    pub(crate) fn connect(
        place: Place,
        server: Clock,
        dialect: Dialect,
        count: usize,
        lines: usize,
    ) -> io::Result<Self> {
        // The verb and the end of the line are the other two bytes.
        let texts: Vec<String> = (0..lines).map(|line| text(line, 62)).collect();
        let all = |form: &dyn Fn(&str) -> String| texts.iter().map(|text| form(text)).collect::<String>().into_bytes();
        Ok(Self {
            server,
            members: subscribed(place, dialect, count)?,
            publisher: Peer::connect(place)?,
            burst: all(&|text| dialect.publish(text)),
            lines,
            answer: all(&|_| dialect.published(count)),
            delivery: all(&|text| dialect.delivery(text)),
        })
    }

    /// The lines that a call of `publish` delivers.
    pub(crate) fn deliveries(&self) -> usize {
        self.members.len() * self.lines
    }

    /// Publishes the lines and returns how many lines have arrived: all of them, or it is an error.
    pub(crate) fn publish(&mut self) -> io::Result<usize> {
        self.publisher.write_all(&self.burst)?;
        self.server.settled()?;
        let mut received = vec![0; self.delivery.len().max(self.answer.len())];
        for member in &mut self.members {
            expect(member, &self.delivery, &mut received)?;
            member.acknowledge()?;
        }
        expect(&mut self.publisher, &self.answer, &mut received)?;
        Ok(self.deliveries())
    }
}

/// [`Members`] in a process of their own, which has descriptors for many. They speak [`Dialect::Verbs`], and a write
/// publishes one line.
pub(crate) fn apart(server: &Process, count: usize) -> io::Result<Process> {
    let place = server.place();
    let mut command = Command::new(std::env::current_exe()?);
    command.args([ROLE, &place.addr.port().to_string(), &server.clock().pid(), &count.to_string()]);
    let mut process = Process::of(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?, place.addr)?;
    publish_apart(&mut process)?;
    Ok(process)
}

/// As [`Members::publish`], by such a process.
pub(crate) fn publish_apart(members: &mut Process) -> io::Result<usize> {
    let answer = members.ask("publish")?;
    answer.trim().parse().map_err(|_| io::Error::other("the members ended before they answered"))
}

/// The first argument of such a process.
pub(crate) const ROLE: &str = "members";

/// Publishes a line for each line of standard input, and prints how many members it has reached.
pub(crate) fn run(port: &str, server: &str, count: &str) -> io::Result<()> {
    let addr = (Ipv4Addr::LOCALHOST, port.parse().map_err(io::Error::other)?).into();
    let count = count.parse().map_err(io::Error::other)?;
    let server = Clock::of(server.parse().map_err(io::Error::other)?)?;
    let mut members = Members::connect(Place { addr, tls: false }, server, Dialect::Verbs, count, 1)?;
    for line in io::stdin().lines() {
        line?;
        println!("{}", members.publish()?);
        io::stdout().flush()?;
    }
    Ok(())
}

/// Publishes lines of `len` bytes, far more than the outboxes and sockets of members that do not read can hold. Fails
/// if a member is not full at the end.
pub(crate) fn overfill(publisher: &mut Peer, members: usize, len: usize) -> io::Result<()> {
    let lines = OVERFILL / len;
    for line in 0..lines {
        let verb = if line + 1 < lines { 'p' } else { 'a' };
        publisher.write_all(format!("{verb}{}\n", text(line, len - 2)).as_bytes())?;
    }
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') {
        let mut byte = [0];
        publisher.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    let full = format!("ok 0 {members}\n");
    if answer != full.as_bytes() {
        return Err(io::Error::other(format!("{:?} instead of {full:?}", String::from_utf8_lossy(&answer))));
    }
    Ok(())
}

const OVERFILL: usize = 4 * 1024 * 1024;

/// Opens `count` connections, each of which has joined the topic.
pub(crate) fn subscribed(place: Place, dialect: Dialect, count: usize) -> io::Result<Vec<Peer>> {
    let mut members = Vec::with_capacity(count);
    while members.len() < count {
        // A few at a time: the server's accept queue is short.
        let mut next: Vec<Peer> =
            (0..AT_ONCE.min(count - members.len())).map(|_| Peer::connect(place)).collect::<io::Result<_>>()?;
        let (request, answer) = dialect.subscribe();
        ask(&mut next, request, answer)?;
        members.append(&mut next);
    }
    Ok(members)
}

/// Sends a request over each connection and waits for the answer.
pub(crate) fn ask(peers: &mut [Peer], request: &[u8], answer: &[u8]) -> io::Result<()> {
    let mut received = vec![0; answer.len()];
    for group in peers.chunks_mut(AT_ONCE) {
        group.iter_mut().try_for_each(|peer| peer.write_all(request))?;
        for peer in group {
            expect(peer, answer, &mut received)?;
            peer.acknowledge()?;
        }
    }
    Ok(())
}

const AT_ONCE: usize = 32;

fn expect(peer: &mut Peer, expected: &[u8], buffer: &mut [u8]) -> io::Result<()> {
    let received = &mut buffer[..expected.len()];
    let mut len = 0;
    while len < received.len() {
        len += match peer.read(&mut received[len..]) {
            Ok(0) => return Err(io::Error::other("the server closed a connection")),
            Ok(read) => read,
            Err(_) => return Err(io::Error::other(format!("a member got {len} of {} bytes", expected.len()))),
        };
    }
    if received != expected {
        return Err(io::Error::other("a member got something else than was published"));
    }
    Ok(())
}
