//! The load: blocking sockets in two groups. The server always has the messages of one group to answer.
//!
//! While the server works on one group, the load reads the replies of the other group and sends its next messages.
//! That takes two system calls per message and no waiting, which is less than any server needs. So the server's core
//! is the busy one.

use std::io::{self, Read, Write};

use crate::peer::{Peer, Place};

/// Connections that send bursts and check the echo.
pub(crate) struct Load {
    groups: [Vec<Peer>; 2],
    echo: Echo,
}

impl Load {
    /// Opens `count` connections, half of them in each group, and echoes one burst over each.
    pub(crate) fn connect(place: Place, count: usize, burst: Vec<u8>) -> io::Result<Self> {
        let mut echo = Echo::new(burst);
        let mut group = |count| {
            let mut group = Vec::with_capacity(count);
            while group.len() < count {
                // A few at a time: the server's accept queue is short.
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

    pub(crate) fn groups(&mut self) -> &mut [Vec<Peer>; 2] {
        &mut self.groups
    }

    /// Echoes `turns` bursts over each connection. Returns after the last reply has arrived.
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

/// Opens about `count` connections one after the other. Each echoes one burst and is closed. Returns their number.
///
/// There are more connections than ports: a port on loopback must be free again a second after its connection was
/// closed (`net.ipv4.tcp_tw_reuse`, allowed by default).
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

/// The burst to send and the buffer for its echo.
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
        // The server answers the last connection last: reading it first, this side mostly sleeps once per group.
        for socket in group.iter_mut().rev() {
            self.reply.fill(0);
            socket.read_exact(&mut self.reply)?;
            if self.reply != self.burst {
                return Err(io::Error::other("the echo differs from what was sent"));
            }
        }
        Ok(())
    }
}
