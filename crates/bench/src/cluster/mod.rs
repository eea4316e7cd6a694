//! Nodes of a cluster on one nats-server: of this library, and plain programs on async-nats that do the same work.
//!
//! ```text
//!   load ──▶ publisher ──▶ nats-server ──▶ 3 nodes ──▶ members of each (sockets of the load)
//! ```
//!
//! Every node and every publisher is a process. Its peers send it requests, one line each.

pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod plain;

use std::io;
use std::process::Command;
use std::sync::LazyLock;

use bytes::Bytes;
use nix::time::{clock_gettime, ClockId};

use crate::process::Process;
use crate::servers::Server;

/// What is measured. Bars are ratios.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// The rate at which lines are published to 3 nodes with `members` each, and the lowest ratio allowed against a plain
    /// program. If `counts`, the plain program has no members, but counts what arrives.
    Publish { members: usize, lines: usize, counts: bool, bar: Option<f64> },
    /// Instructions in user space for each line: of the publisher, and of a node with one member, against one that counts.
    Instructions { publisher: f64, node: f64 },
    /// The time from a publish to the arrival at a member of another node.
    Latency,
    /// Calls a second, one at a time and many at once.
    Names,
    /// CPU time of 3 nodes without traffic.
    Idle,
    /// Memory of a node, of a subscribed topic and of a name, and the time to subscribe to all topics.
    Memory { topics: usize, names: usize },
}

/// A process of a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// A node with a pool.
    Node,
    /// An accept loop on tokio, and async-nats.
    Plain,
}

impl Program {
    /// The argument that selects it in a new process.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Node => "cluster-node",
            Program::Plain => "cluster-plain",
        }
    }
}

/// The topic, and the subject of the plain programs, which is as long as that of the topic.
const TOPIC: &str = "lobby";
const SUBJECT: &str = "baseline.topic.lobby";

/// The environment variables with the URL of NATS, and the name of the node. Without a URL, a node has no server.
const URL: &str = "BENCH_NATS";
const NAME: &str = "BENCH_NODE";

/// The length of a line, with its end.
pub(crate) const LINE: usize = 64;

/// The time between two lines of [`Request::Paced`].
const PACE: std::time::Duration = std::time::Duration::from_millis(2);

/// Starts a process that uses this NATS server.
pub(crate) fn start(program: Program, url: Option<&str>, name: &str) -> io::Result<Process> {
    start_under(Command::new(std::env::current_exe()?), program, url, name)
}

/// The same with a command that already names this binary.
pub(crate) fn start_under(
    mut command: Command,
    program: Program,
    url: Option<&str>,
    name: &str,
) -> io::Result<Process> {
    command.env(NAME, name).env(URL, url.unwrap_or_default());
    Process::start_under(command, Server::Cluster(program), None)
}

/// The URL of NATS and the name of this process.
fn environment() -> (Option<String>, String) {
    let url = std::env::var(URL).ok().filter(|url| !url.is_empty());
    (url, std::env::var(NAME).unwrap_or_default())
}

/// What a peer asks for: a letter and numbers. Every request is answered by one line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// `j`: joins the topic. Answered when the node is subscribed to it.
    Join,
    /// `c`: subscribes without a member, and counts.
    Count,
    /// `u N`: waits until N more lines were counted.
    Counted(usize),
    /// `p N`: publishes N lines.
    Publish(usize),
    /// `l N`: publishes N lines with the time of each, one every 2 ms.
    Paced(usize),
    /// `r N A`: registers N names, A at once. Answered by the nanoseconds that it took.
    Register { count: usize, at_once: usize },
    /// `w N A`: asks where N names are.
    Whereis { count: usize, at_once: usize },
    /// `t N`: joins N other topics. Answered when the node is subscribed to all of them.
    Topics(usize),
}

impl Request {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
        let verb = words.next()?;
        let mut number = || words.next().and_then(|word| word.parse().ok());
        Some(match verb {
            "j" => Request::Join,
            "c" => Request::Count,
            "u" => Request::Counted(number()?),
            "p" => Request::Publish(number()?),
            "l" => Request::Paced(number()?),
            "r" => Request::Register { count: number()?, at_once: number()? },
            "w" => Request::Whereis { count: number()?, at_once: number()? },
            "t" => Request::Topics(number()?),
            _ => return None,
        })
    }
}

/// The first `count` lines that a publisher sends.
pub(crate) fn lines(count: usize) -> impl Iterator<Item = Bytes> {
    static LINES: LazyLock<Vec<Bytes>> =
        LazyLock::new(|| (0..1_000).map(|line| format!("{line:.<width$}\n", width = LINE - 1).into()).collect());
    (0..count).map(|line| LINES[line % LINES.len()].clone())
}

/// The nanoseconds of a clock that all processes share.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// A line with the present time.
fn stamped() -> Bytes {
    format!("{:.<width$}\n", now(), width = LINE - 1).into()
}

/// A line without its end, which our framing adds.
fn without_end(line: Bytes) -> Bytes {
    line.slice(..LINE - 1)
}

/// The time from [`stamped`] to now.
pub(crate) fn age(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|byte| *byte == b'.').next().and_then(|digits| std::str::from_utf8(digits).ok());
    let stamp: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    Ok(now().saturating_sub(stamp.ok_or_else(|| io::Error::other("a line without a time"))?))
}
