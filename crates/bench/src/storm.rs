//! A client that publishes without a pause, and what another client notices of it.
//!
//! One thread does all of it in small steps: it reads from a few members, then looks whether the publisher's line was
//! acknowledged and whether the echo has arrived. A step takes microseconds, so the times are not those of a scheduler.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::members::{subscribed, Dialect};
use crate::peer::{Peer, Place};
use crate::process::Process;

/// What a storm was like.
pub(crate) struct Storm {
    /// The time within which 99 of 100 echoes of the other client were answered.
    pub(crate) p99: Duration,
    /// Lines published a second.
    pub(crate) rate: f64,
}

const LINE: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);
const STEP: usize = 16;

/// Publishes to `count` members for that time, each line as soon as the one before is acknowledged. Fails if a member
/// has not received all lines a few seconds after the last one.
///
/// The times are without those for which the server waited for a core that another process had.
pub(crate) fn storm(server: &Process, count: usize, time: Duration) -> io::Result<Storm> {
    let mut members = subscribed(server.place(), Dialect::Verbs, count)?;
    let mut publisher = Client::connect(server.place(), b'a')?;
    let mut other = Client::connect(server.place(), b'e')?;
    members.iter().try_for_each(|member| member.set_nonblocking())?;
    let (mut received, mut published, mut times, mut waited) =
        (vec![0; count], 0, Vec::new(), server.waits_for_core()?);
    let began = Instant::now();
    let mut buffer = vec![0; 16 * 1024];
    let mut step = 0;
    while began.elapsed() < time {
        published += usize::from(publisher.receive()?.is_some());
        publisher.send_after(Duration::ZERO)?;
        if let Some(took) = other.receive()? {
            times.push(took.saturating_sub(server.waits_for_core()? - waited));
        }
        if other.send_after(PAUSE)? {
            waited = server.waits_for_core()?;
        }
        let first = step * STEP % count;
        let some = first..(first + STEP).min(count);
        read(&mut members[some.clone()], &mut received[some], &mut buffer)?;
        step += 1;
    }
    let rate = published as f64 / time.as_secs_f64();
    let deadline = Instant::now() + Duration::from_secs(5);
    while publisher.waiting || received.iter().any(|bytes| *bytes < published * LINE) {
        published += usize::from(publisher.receive()?.is_some());
        read(&mut members, &mut received, &mut buffer)?;
        if Instant::now() > deadline {
            break;
        }
    }
    if let Some(bytes) = received.iter().find(|bytes| **bytes != published * LINE) {
        return Err(io::Error::other(format!("a member got {bytes} of {} bytes", published * LINE)));
    }
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied();
    Ok(Storm { p99: p99.ok_or_else(|| io::Error::other("no echo was answered"))?, rate })
}

/// Reads what has arrived for these members.
fn read(members: &mut [Peer], received: &mut [usize], buffer: &mut [u8]) -> io::Result<()> {
    for (member, received) in members.iter_mut().zip(received) {
        *received += match member.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed the connection of a member")),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(())
}

/// A connection with one line at a time on its way.
struct Client {
    peer: Peer,
    line: Vec<u8>,
    answer: Vec<u8>,
    /// When the line was sent, or since when its answer is here.
    since: Instant,
    waiting: bool,
}

impl Client {
    fn connect(place: Place, verb: u8) -> io::Result<Self> {
        let peer = Peer::connect(place)?;
        peer.set_nonblocking()?;
        let mut line = vec![b'.'; LINE];
        (line[0], line[LINE - 1]) = (verb, b'\n');
        Ok(Self { peer, line, answer: Vec::new(), since: Instant::now(), waiting: false })
    }

    /// Sends the next line if that much time has passed since the last answer. Returns whether it did.
    fn send_after(&mut self, pause: Duration) -> io::Result<bool> {
        let is_time = !self.waiting && self.since.elapsed() >= pause;
        if is_time {
            self.peer.write_all(&self.line)?;
            (self.waiting, self.since) = (true, Instant::now());
        }
        Ok(is_time)
    }

    /// Returns after how long the answer came, if it has just come.
    fn receive(&mut self) -> io::Result<Option<Duration>> {
        if !self.waiting {
            return Ok(None);
        }
        let mut buffer = [0; LINE];
        match self.peer.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the server closed the connection")),
            Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.answer.last() != Some(&b'\n') {
            return Ok(None);
        }
        let took = self.since.elapsed();
        self.answer.clear();
        (self.waiting, self.since) = (false, Instant::now());
        Ok(Some(took))
    }
}
