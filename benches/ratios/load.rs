//! The load: blocking sockets in two groups, of which one is always in the server's hands.
//!
//! While the server works on one group, the replies of the other are read and its next messages are sent. That
//! takes two system calls a message and no waiting in between, less than any server needs, so it is the server's
//! core that is busy.

use std::io::{self, Read, Write};

use crate::peer::{Peer, Place};

/// Connections that echo bursts.
pub(crate) struct Load {
    groups: [Vec<Peer>; 2],
    echo: Echo,
}

impl Load {
    /// Opens that many connections, half of them in each group, and echoes one burst over each.
    pub(crate) fn connect(place: Place, count: usize, burst: Vec<u8>) -> io::Result<Self> {
        let mut echo = Echo::new(burst);
        let mut group = |count| {
            let mut group = Vec::with_capacity(count);
            while group.len() < count {
                // Few at a time: the server's queue of connections not yet accepted is short.
                let mut next = open(place, AT_ONCE.min(count - group.len()))?;
                echo.send(&mut next)?;
                echo.receive(&mut next)?;
                group.append(&mut next);
            }
            io::Result::Ok(group)
        };
        let groups = [group(count / 2)?, group(count - count / 2)?];
        Ok(Self { groups, echo })
    }

    /// Echoes that many bursts over each connection. No reply is left on the way after it.
    pub(crate) fn turns(&mut self, turns: usize) -> io::Result<()> {
        let (echo, [first, second]) = (&mut self.echo, &mut self.groups);
        echo.send(first)?;
        for turn in 1..=turns {
            echo.send(second)?;
            echo.receive(first)?;
            if turn < turns {
                echo.send(first)?;
            }
            echo.receive(second)?;
        }
        Ok(())
    }
}

/// About that many connections: each is opened, echoes one burst and is closed. Returns how many there were.
///
/// More of them than there are ports: it counts on a port on loopback being free again a second after its
/// connection was closed (`net.ipv4.tcp_tw_reuse`, whose default allows it).
pub(crate) fn short(place: Place, burst: Vec<u8>, count: usize) -> io::Result<usize> {
    let mut echo = Echo::new(burst);
    let mut ahead = open(place, AT_ONCE)?;
    echo.send(&mut ahead)?;
    let mut closed = 0;
    while closed < count {
        let mut next = open(place, AT_ONCE)?;
        echo.send(&mut next)?;
        echo.receive(&mut ahead)?;
        closed += ahead.len();
        ahead = next;
    }
    echo.receive(&mut ahead)?;
    Ok(closed + ahead.len())
}

const AT_ONCE: usize = 32;

fn open(place: Place, count: usize) -> io::Result<Vec<Peer>> {
    (0..count).map(|_| Peer::connect(place)).collect()
}

/// What is sent, and must come back byte by byte.
struct Echo {
    burst: Vec<u8>,
    reply: Vec<u8>,
}

impl Echo {
    fn new(burst: Vec<u8>) -> Self {
        let reply = vec![0; burst.len()];
        Self { burst, reply }
    }

    fn send(&self, group: &mut [Peer]) -> io::Result<()> {
        group.iter_mut().try_for_each(|socket| socket.write_all(&self.burst))
    }

    fn receive(&mut self, group: &mut [Peer]) -> io::Result<()> {
        // The last is the last to be answered: most often this side sleeps once a group, for that one.
        for socket in group.iter_mut().rev() {
            self.reply.fill(0);
            socket.read_exact(&mut self.reply)?;
            if self.reply != self.burst {
                return Err(io::Error::other("what came back is not what was sent"));
            }
        }
        Ok(())
    }
}
