//! Topics, names and outboxes under load from several threads, with exact counts.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use actix_acceptor::limits::SlowConsumer;
use actix_acceptor::telemetry::CloseReason;
use futures::future::join_all;
use support::*;

use super::*;

const PUBLISHERS: usize = 3;

/// Threads that publish their number and a count to the topic `lobby`, one publication after the other.
struct Publishers {
    /// Per publisher: the publications that were begun, and those that are done.
    counts: Arc<[(AtomicU64, AtomicU64); PUBLISHERS]>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Publishers {
    fn start(pool: &Members) -> Self {
        let counts = Arc::<[(AtomicU64, AtomicU64); PUBLISHERS]>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..PUBLISHERS).map(|publisher| {
            let (counts, stop, lobby) = (counts.clone(), stop.clone(), pool.topic("lobby"));
            thread::spawn(move || {
                let (begun, done) = &counts[publisher];
                let mut delivered = 0;
                while !stop.load(SeqCst) {
                    let n = begun.fetch_add(1, SeqCst);
                    let published = lobby.publish(format!("{publisher} {n}"));
                    assert_eq!(published.dropped, 0);
                    delivered += published.members;
                    done.fetch_add(1, SeqCst);
                    // Members share the processor with the publishers.
                    thread::sleep(std::time::Duration::from_micros(200));
                }
                delivered
            })
        });
        let threads = threads.collect();
        Publishers { counts, stop, threads }
    }

    fn begun(&self) -> [u64; PUBLISHERS] {
        std::array::from_fn(|publisher| self.counts[publisher].0.load(SeqCst))
    }

    fn done(&self) -> [u64; PUBLISHERS] {
        std::array::from_fn(|publisher| self.counts[publisher].1.load(SeqCst))
    }

    /// Waits until every publisher has published so many times from now on.
    async fn publish(&self, times: u64) {
        let before = self.done();
        eventually(|| self.done().iter().zip(before).all(|(done, before)| *done >= before + times)).await;
    }

    /// Returns how many publications were queued for members.
    fn stop(self) -> usize {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    }
}

/// What a member has received of each publisher: the first number, and how many.
#[derive(Default)]
struct Received([Option<(u64, u64)>; PUBLISHERS]);

impl Received {
    /// Notes a publication, which must be the next of its publisher.
    fn note(&mut self, line: &str) {
        let (publisher, n) = line.split_once(' ').unwrap();
        let (publisher, n): (usize, u64) = (publisher.parse().unwrap(), n.parse().unwrap());
        let (first, count) = self.0[publisher].get_or_insert((n, 0));
        assert_eq!(n, *first + *count, "lost or doubled");
        *count += 1;
    }

    fn count(&self) -> usize {
        self.0.iter().flatten().map(|(_, count)| *count as usize).sum()
    }

    /// Whether a line is a publication.
    fn is_publication(line: &str) -> bool {
        line.as_bytes().first().is_some_and(u8::is_ascii_digit)
    }

    /// `joined` and `left` are the counts of the publishers before the command and after its answer.
    fn check(&self, joined: [[u64; PUBLISHERS]; 2], left: [[u64; PUBLISHERS]; 2]) {
        for (publisher, received) in self.0.iter().enumerate() {
            let ([done, begun], (first, count)) = (joined.map(|counts| counts[publisher]), received.unwrap());
            assert!((done..=begun).contains(&first), "the first was {first}, between {done} and {begun} expected");
            let ([done, begun], end) = (left.map(|counts| counts[publisher]), first + count);
            assert!((done..=begun).contains(&end), "{end} was left out, between {done} and {begun} expected");
        }
    }
}

/// Reads publications up to the answer of a command.
async fn until_answer(peer: &mut Peer<TcpStream>, received: &mut Received) -> String {
    loop {
        let line = line(peer).await;
        if !Received::is_publication(&line) {
            return line;
        }
        received.note(&line);
    }
}

/// How a membership ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Leave,
    Quit,
    Fin,
    Panic,
    Kill,
    Reset,
}

const ENDS: [End; 6] = [End::Leave, End::Quit, End::Fin, End::Panic, End::Kill, End::Reset];

/// Joins, receives some publications, and ends. Returns how many it has received, and whether these must be all that were
/// queued for it.
async fn membership(pool: &Members, publishers: &Publishers, end: End) -> (usize, bool) {
    let mut peer = connect(pool).await;
    let id = ask(&mut peer, "id").await;
    let mut received = Received::default();
    let before_join = publishers.done();
    peer.send("join lobby\n").await;
    assert_eq!(until_answer(&mut peer, &mut received).await, "true");
    let joined = [before_join, publishers.begun()];
    publishers.publish(20).await;
    let before_leave = publishers.done();
    let mut rest = Vec::new();
    match end {
        End::Leave => {
            peer.send("leave lobby\n").await;
            assert_eq!(until_answer(&mut peer, &mut received).await, "true");
            let after_leave = publishers.begun();
            publishers.publish(5).await;
            // Nothing arrives after the confirmation.
            assert_eq!(ask(&mut peer, "next").await, "next");
            received.check(joined, [before_leave, after_leave]);
            return (received.count(), true);
        }
        End::Quit => {
            peer.send("quit\n").await;
            assert_eq!(until_answer(&mut peer, &mut received).await, "bye");
        }
        End::Fin => {
            peer.finish().await;
            rest = peer.read_to_end().await;
        }
        End::Panic => {
            peer.send("panic\n").await;
            rest = peer.until_gone().await;
        }
        End::Kill => {
            assert!(pool.kill(id.parse::<u64>().unwrap().into()));
            rest = peer.until_gone().await;
        }
        End::Reset => {
            peer.reset();
            return (0, false);
        }
    }
    // Of an end at once, the last line may be cut.
    let complete = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    std::str::from_utf8(&rest[..complete]).unwrap().lines().for_each(|line| received.note(line));
    let is_orderly = matches!(end, End::Quit | End::Fin);
    if is_orderly {
        assert_eq!(complete, rest.len());
        received.check(joined, [before_leave, publishers.begun()]);
    }
    (received.count(), is_orderly)
}

#[actix::test]
async fn members_receive_exactly_what_is_published_meanwhile() {
    let pool = start_with(|builder| builder.acceptors(2).outbox(64 << 20, SlowConsumer::DropNewest)).await;
    let publishers = Publishers::start(&pool);
    let members = (0..8).map(|member| {
        let (pool, publishers) = (&pool, &publishers);
        async move {
            let (mut count, mut is_exact) = (0, true);
            for round in 0..6 {
                let (received, is_all) = membership(pool, publishers, ENDS[(member + round) % ENDS.len()]).await;
                (count, is_exact) = (count + received, is_exact && is_all);
            }
            (count, is_exact)
        }
    });
    join_all(members).await;
    eventually(|| pool.topic("lobby").is_empty()).await;
    // Only members that receive everything from now on: the counts of both sides are the same.
    let queued = publishers.stop();
    let publishers = Publishers::start(&pool);
    let orderly = [End::Leave, End::Quit, End::Fin];
    let members = (0..6).map(|member| membership(&pool, &publishers, orderly[member % orderly.len()]));
    let received: usize = join_all(members).await.into_iter().map(|(received, _)| received).sum();
    assert_eq!(publishers.stop(), received);
    assert!(queued > received);
    eventually(|| pool.connections() == 0).await;
    assert!(pool.topics().is_empty());
    assert_eq!(pool.info().dropped, 0);
}

#[actix::test]
async fn a_slow_member_misses_whole_replies_and_receives_the_others_in_order() {
    let pool = start_with(|builder| builder.acceptors(2).outbox(20_000, SlowConsumer::DropNewest)).await;
    let mut slow = member(&pool).await;
    let published = pool.topic("lobby");
    let publisher = thread::spawn(move || {
        let (mut queued, mut dropped) = (0, 0);
        let mut n = 0;
        while dropped < 1_000 {
            let outcome = published.publish(format!("{n:0999}"));
            (queued, dropped, n) = (queued + outcome.members, dropped + outcome.dropped, n + 1);
        }
        (queued, dropped)
    });
    let (queued, dropped) = tokio::task::spawn_blocking(|| publisher.join().unwrap()).await.unwrap();
    let received = slow.read_exact(queued * 1_000).await;
    let numbers: Vec<u64> = std::str::from_utf8(&received).unwrap().lines().map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers.len(), queued);
    assert!(numbers.is_sorted_by(|one, next| one < next));
    assert_eq!(pool.info().dropped, dropped as u64);
    assert_eq!(ask(&mut slow, "next").await, "next");
}

#[actix::test]
async fn a_name_never_has_two_owners() {
    let pool = start().await;
    let owners = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let observer = thread::spawn({
        let (pool, stop) = (pool.clone(), stop.clone());
        move || {
            let mut seen = std::collections::HashSet::new();
            while !stop.load(SeqCst) {
                assert!(pool.names().len() <= 1);
                seen.extend(pool.whereis("crown").map(|owner| owner.id()));
            }
            seen.len()
        }
    });
    let clients = (0..20).map(|client| {
        let (pool, owners) = (&pool, &owners);
        async move {
            let mut peer = connect(pool).await;
            let id = ask(&mut peer, "id").await;
            let mut reigns = 0;
            for round in 0..50 {
                if ask(&mut peer, "register crown").await != "true" {
                    continue;
                }
                assert_eq!(owners.fetch_add(1, SeqCst), 0, "two owners");
                assert_eq!(ask(&mut peer, "owner crown").await, id);
                assert_eq!(owners.fetch_sub(1, SeqCst), 1);
                reigns += 1;
                match (client + round) % 3 {
                    0 => {
                        // The end of the connection releases the name.
                        peer.reset();
                        return reigns;
                    }
                    _ => assert_eq!(ask(&mut peer, "unregister crown").await, "true"),
                }
            }
            reigns
        }
    });
    let reigns: usize = join_all(clients).await.into_iter().sum();
    eventually(|| pool.whereis("crown").is_none()).await;
    stop.store(true, SeqCst);
    assert!(observer.join().unwrap() >= 1);
    assert!(reigns >= 20, "{reigns}");
}

#[actix::test]
async fn a_name_that_is_taken_over_never_returns() {
    let pool = start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let observer = thread::spawn({
        let (pool, stop) = (pool.clone(), stop.clone());
        move || {
            let mut owners = Vec::new();
            while !stop.load(SeqCst) {
                let owner = pool.whereis("crown").map(|owner| owner.id());
                if owner.is_some() && owner != owners.last().copied() {
                    owners.extend(owner);
                }
            }
            owners
        }
    });
    const CLIENTS: usize = 20;
    for round in 1..=5 {
        let clients = (0..CLIENTS).map(|_| {
            let pool = &pool;
            async move {
                let mut peer = connect(pool).await;
                let id = ask(&mut peer, "id").await;
                peer.send("take crown\n").await;
                (id, peer)
            }
        });
        let clients = join_all(clients).await;
        // One owner is left; all others were replaced, with or without an answer.
        eventually(|| pool.connections() == 1).await;
        let owner = pool.whereis("crown").unwrap().id().to_string();
        assert_eq!(owner, pool.list()[0].id.to_string());
        for (id, mut peer) in clients {
            if id == owner {
                assert_eq!(line(&mut peer).await, "taken");
                assert_eq!(ask(&mut peer, "owner crown").await, id);
            } else {
                assert!(b"taken\n".starts_with(&peer.until_gone().await));
            }
        }
        eventually(|| pool.connections() == 0).await;
        assert_eq!(pool.info().closed.get(CloseReason::Replaced) as usize, round * (CLIENTS - 1));
        assert!(pool.names().is_empty());
    }
    stop.store(true, SeqCst);
    let mut owners = observer.join().unwrap();
    let count = owners.len();
    owners.sort_unstable();
    owners.dedup();
    assert_eq!(owners.len(), count, "a former owner had the name again");
}
