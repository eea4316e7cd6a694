//! What an operator's calls cost in a pool with many connections.
//!
//! The server measures itself: each line on its standard input names a call, and the answer is a line with the nanoseconds
//! that it took. These are CPU time of the calling thread, since the machine may have other work; for a drain, which two
//! threads perform, they are elapsed time. The connections come from the load's process, since one process may not have
//! enough descriptors for both ends. Those of a drain are in memory: closing sockets would cost the kernel more than the
//! drain itself.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::time::Duration;

use actix_acceptor::{telemetry::ConnectionId, transport::Memory, Connection, Drain, Pool};
use nix::time::{clock_gettime, ClockId};
use tokio::sync::mpsc::unbounded_channel;

use crate::ours::{self, Echo};
use crate::process;
use crate::servers::Wire;

/// A call whose time is measured.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Find,
    List,
    NotifyAll,
    Drain,
}

impl Call {
    const ALL: [Call; 4] = [Call::Find, Call::List, Call::NotifyAll, Call::Drain];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Call::Find => "find",
            Call::List => "list",
            Call::NotifyAll => "notify_all",
            Call::Drain => "drain",
        }
    }
}

/// Serves on one arbiter, and makes the calls that standard input names on this thread, until standard input ends.
pub(crate) async fn serve(announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    // The calls are made on a thread beside the arbiter's.
    process::unpin();
    let (sender, mut calls) = unbounded_channel();
    std::thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let pool = ours::plain(Wire::Raw).acceptors(1).max_connections(1_000_000).bind("127.0.0.1:0").await;
    let pool = pool.map_err(io::Error::other)?;
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    while let Some(line) = calls.recv().await {
        let call = Call::ALL.into_iter().find(|call| call.name() == line);
        let took = time(call.ok_or_else(|| io::Error::other(format!("unknown call {line:?}")))?, &pool).await;
        println!("{}", took.as_nanos());
        io::stdout().flush()?;
    }
    std::process::exit(0)
}

const FINDS: u32 = 100_000;
const REPEATS: usize = 9;

async fn time(call: Call, pool: &Pool<Connection<Echo>>) -> Duration {
    match call {
        Call::Find => {
            let list = pool.list();
            let ids: Vec<ConnectionId> = list.iter().map(|connection| connection.id).collect();
            let began = cpu();
            // 7,919 is a prime: each id is found once before the first is found again.
            let found = (0..FINDS as usize).filter(|n| pool.find(ids[n * 7_919 % ids.len()]).is_some()).count();
            assert_eq!(found, FINDS as usize);
            (cpu() - began) / FINDS
        }
        Call::List => median(pool, |pool| assert_eq!(pool.list().len(), pool.connections())).await,
        Call::NotifyAll => median(pool, |pool| assert_eq!(pool.notify_all(()).delivered, pool.connections())).await,
        Call::Drain => drain().await,
    }
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
async fn median(pool: &Pool<Connection<Echo>>, call: impl Fn(&Pool<Connection<Echo>>)) -> Duration {
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
