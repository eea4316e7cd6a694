//! What an operator's calls cost in a pool with many connections.
//!
//! The server measures itself: each line on its standard input names a call, for some calls with the number of connections
//! that are looked up in turn, and the answer is a line with the nanoseconds that the call took. These are CPU time of the
//! calling thread, since the machine may have other work; for a drain, which two threads perform, they are elapsed time. The
//! connections come from the load's process, since one process may not have enough descriptors for both ends. Those of a drain
//! are in memory: closing sockets would cost the kernel more than the drain itself.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::time::Duration;

use actix_acceptor::{
    telemetry::ConnectionId, transport::Memory, AcceptorPool, Conn, Connection, Drain, Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use nix::time::{clock_gettime, ClockId};
use tokio::sync::mpsc::unbounded_channel;

use crate::ours;
use crate::process;
use crate::servers::Wire;

/// A call whose time is measured.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Find,
    Whereis,
    List,
    NotifyAll,
    Drain,
}

impl Call {
    const ALL: [Call; 5] = [Call::Find, Call::Whereis, Call::List, Call::NotifyAll, Call::Drain];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Call::Find => "find",
            Call::Whereis => "whereis",
            Call::List => "list",
            Call::NotifyAll => "notify_all",
            Call::Drain => "drain",
        }
    }
}

/// An echo whose connections register a name when the program asks for it.
struct Client;

#[derive(Clone, Copy)]
enum Notice {
    Nothing,
    Register,
}

impl Protocol for Client {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Notice;

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn user(&mut self, notice: Notice, conn: &mut Conn<Self>) -> Next<Self> {
        match notice {
            Notice::Nothing => Next::Continue,
            Notice::Register => match conn.register(format!("client-{}", conn.id())) {
                Ok(()) => Next::Continue,
                Err(_) => Next::Stop,
            },
        }
    }
}

/// Serves on one arbiter, and makes the calls that standard input names on this thread, until standard input ends.
pub(crate) async fn serve(announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    // The calls are made on a thread beside the arbiter's.
    process::unpin();
    let (sender, mut calls) = unbounded_channel();
    std::thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let pool = AcceptorPool::with_protocol(|_| Client).framing(Framing::raw());
    let pool = pool.acceptors(1).max_connections(1_000_000).bind("127.0.0.1:0").await;
    let pool = pool.map_err(io::Error::other)?;
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    while let Some(line) = calls.recv().await {
        let (name, among) = line.split_once(' ').unwrap_or((&line, ""));
        let call = Call::ALL.into_iter().find(|call| call.name() == name);
        let call = call.ok_or_else(|| io::Error::other(format!("unknown call {line:?}")))?;
        let took = time(call, among.parse().unwrap_or(usize::MAX), &pool).await;
        println!("{}", took.as_nanos());
        io::stdout().flush()?;
    }
    std::process::exit(0)
}

const FINDS: u32 = 100_000;
const REPEATS: usize = 9;

async fn time(call: Call, among: usize, pool: &Pool<Connection<Client>>) -> Duration {
    match call {
        Call::Find => {
            let ids: Vec<ConnectionId> = pool.list().iter().map(|connection| connection.id).collect();
            each_of(&ids, among, |id| pool.find(*id).is_some())
        }
        Call::Whereis => {
            pool.notify_all(Notice::Register);
            let mut names = pool.names();
            while names.len() < pool.connections() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                names = pool.names();
            }
            each_of(&names, among, |name| pool.whereis(name).is_some())
        }
        Call::List => median(pool, |pool| assert_eq!(pool.list().len(), pool.connections())).await,
        Call::NotifyAll => {
            median(pool, |pool| assert_eq!(pool.notify_all(Notice::Nothing).delivered, pool.connections())).await
        }
        Call::Drain => drain().await,
    }
}

/// The time of one of many look-ups of `among` keys, which are spread over all.
fn each_of<K>(keys: &[K], among: usize, is_there: impl Fn(&K) -> bool) -> Duration {
    let among = among.min(keys.len());
    let began = cpu();
    // 7,919 is a prime: each key is looked up once before the first is looked up again.
    let found = (0..FINDS as usize).filter(|n| is_there(&keys[n * 7_919 % among * (keys.len() / among)])).count();
    assert_eq!(found, FINDS as usize);
    (cpu() - began) / FINDS
}

const DRAINED: usize = 16_000;

async fn drain() -> Duration {
    let (memory, connector) = Memory::new("drain");
    let pool = ours::plain(Wire::Raw).acceptors(1).max_connections(DRAINED).listen(memory).await.expect("it starts");
    let mut peers = Vec::with_capacity(DRAINED);
    while peers.len() < DRAINED {
        peers.push(connector.connect().await.expect("it listens"));
    }
    pool.wait_for(|connections| connections == DRAINED, None).await.expect("no limit");
    let report = pool.drain(Drain::grace(Duration::from_secs(60))).await;
    assert_eq!((report.asked, report.finished), (DRAINED, DRAINED));
    report.took
}

/// The CPU time of this thread.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of Linux").into()
}

/// The median time of several calls, with pauses in which the connections complete the work of each call.
async fn median(pool: &Pool<Connection<Client>>, call: impl Fn(&Pool<Connection<Client>>)) -> Duration {
    let mut times = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let began = cpu();
        call(pool);
        times.push(cpu() - began);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    times.sort_unstable();
    times[REPEATS / 2]
}
