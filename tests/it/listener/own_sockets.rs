//! A listening socket for each acceptor: every queue is served, whatever happens to its acceptor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService, limits::BacklogPolicy, AcceptorPool, Builder, Connection, Drain, Framing, Listener,
    Pool, StartError, SuspendMode,
};
use support::acceptors::*;
use support::*;

const ACCEPTORS: usize = 4;
/// Enough for every queue to have some.
const PEERS: usize = 64;

fn echo(acceptors: usize) -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(acceptors).watchdog(None)
}

fn own_sockets() -> Listener {
    Listener::tcp("127.0.0.1:0").name("own").reuse_port_per_acceptor(true)
}

async fn started() -> Pool<Connection<Echo>> {
    in_time(echo(ACCEPTORS).listener(own_sockets()).start()).await.unwrap()
}

/// A pool that does not accept, and peers in its queues.
async fn with_queued_peers() -> (Pool<Connection<Echo>>, Vec<Peer>, Vec<usize>) {
    let pool = started().await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let peers = connect_all(&pool).await;
    let queued = queues(&pool);
    assert_eq!(queued.iter().sum::<usize>(), PEERS);
    assert!(queued.iter().all(|queued| *queued > 0), "{queued:?}");
    (pool, peers, queued)
}

async fn connect_all<A>(pool: &Pool<A>) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(connect(pool).await);
    }
    peers
}

/// How many peers wait in the queue of each socket, as the kernel reports it.
fn queues<A>(pool: &Pool<A>) -> Vec<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queued = |socket: OwnedFd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let inode = link.to_str().unwrap().strip_prefix("socket:[").unwrap().trim_end_matches(']').to_owned();
        let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let columns = columns.into_iter().find(|columns| columns.get(9) == Some(&&*inode)).expect("a TCP socket");
        usize::from_str_radix(columns[4].split_once(':').unwrap().1, 16).unwrap()
    };
    pool.listening_sockets().unwrap().into_iter().map(|listening| queued(listening.socket.into())).collect()
}

/// How many connections each acceptor serves.
fn served<A>(pool: &Pool<A>) -> Vec<usize> {
    pool.info().acceptors.iter().map(|acceptor| acceptor.connections as usize).collect()
}

async fn all_are_served(peers: &mut [Peer]) {
    for peer in peers {
        peer.echo("hello").await;
    }
}

async fn stop<A: 'static>(pool: Pool<A>) {
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn each_acceptor_serves_the_peers_of_its_own_socket() {
    let (pool, mut peers, queued) = with_queued_peers().await;
    in_time(pool.resume()).await.unwrap();
    all_are_served(&mut peers).await;
    assert_eq!((served(&pool), pool.listeners()[0].options.sockets), (queued, Some(ACCEPTORS)));
    stop(pool).await;
}

#[actix::test]
async fn queued_peers_survive_the_restart_of_their_acceptor() {
    for die in AcceptorFailure::ALL {
        let pool = started().await;
        let blocked = block_at(&pool, 1).await;
        let mut peers = connect_all(&pool).await;
        let doomed = pool.acceptors().swap_remove(1);
        doomed.do_send(die);
        eventually(|| queues(&pool).iter().enumerate().all(|(socket, queued)| socket == 1 || *queued == 0)).await;
        let queued = queues(&pool)[1];
        assert!(queued > 0);
        drop((blocked, doomed));
        all_are_served(&mut peers).await;
        eventually(|| restarts(&pool) == 1).await;
        let info = pool.info();
        assert_eq!((info.accepted, served(&pool)[1]), (PEERS as u64, queued), "{die:?}");
        stop(pool).await;
    }
}

#[actix::test]
async fn with_fewer_acceptors_every_queue_is_served() {
    let (pool, mut peers, queued) = with_queued_peers().await;
    in_time(pool.change(|settings| settings.acceptors = Some(3))).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    all_are_served(&mut peers).await;
    assert_eq!(served(&pool), [queued[0] + queued[3], queued[1], queued[2]]);
    // While they accept.
    in_time(pool.change(|settings| settings.acceptors = Some(1))).await.unwrap();
    let mut more = connect_all(&pool).await;
    all_are_served(&mut more).await;
    assert_eq!(pool.info().accepted, 2 * PEERS as u64);
    in_time(pool.change(|settings| settings.acceptors = Some(ACCEPTORS))).await.unwrap();
    eventually(|| pool.acceptors().len() == ACCEPTORS).await;
    let blocked = block(&pool, ACCEPTORS).await;
    let mut last = connect_all(&pool).await;
    let (before, queued) = (served(&pool), queues(&pool));
    drop(blocked);
    all_are_served(&mut last).await;
    let after = before.into_iter().zip(queued).map(|(served, queued)| served + queued).collect::<Vec<_>>();
    assert_eq!(served(&pool), after, "each has its own again");
    stop(pool).await;
}

#[actix::test]
async fn additional_acceptors_share_the_sockets() {
    let pool = started().await;
    in_time(pool.change(|settings| settings.acceptors = Some(2 * ACCEPTORS))).await.unwrap();
    eventually(|| pool.acceptors().len() == 2 * ACCEPTORS).await;
    let blocked = block(&pool, ACCEPTORS).await;
    let mut peers = connect_all(&pool).await;
    all_are_served(&mut peers).await;
    assert_eq!(served(&pool)[ACCEPTORS..].iter().sum::<usize>(), PEERS);
    drop(blocked);
    stop(pool).await;
}

#[actix::test]
async fn every_socket_is_closed_and_opened_at_the_same_port() {
    let pool = started().await;
    let mut before = connect_all(&pool).await;
    all_are_served(&mut before).await;
    let address = pool.local_addr();
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert!(refuses(&pool).await);
    assert_eq!((pool.listeners()[0].options.sockets, pool.listening_sockets().unwrap().len()), (None, 0));
    in_time(pool.resume()).await.unwrap();
    assert_eq!((pool.local_addr(), pool.listeners()[0].options.sockets), (address, Some(ACCEPTORS)));
    let blocked = block(&pool, ACCEPTORS).await;
    let mut peers = connect_all(&pool).await;
    assert!(queues(&pool).iter().all(|queued| *queued > 0));
    drop(blocked);
    all_are_served(&mut peers).await;
    all_are_served(&mut before).await;
    stop(pool).await;
}

#[actix::test]
async fn a_suspension_that_closes_serves_every_queue() {
    let pool = started().await;
    let blocked = block_at(&pool, 1).await;
    let mut peers = connect_all(&pool).await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!((pool.info().accepted, served(&pool)[1]), (PEERS as u64, 0), "though its arbiter is blocked");
    drop(blocked);
    all_are_served(&mut peers).await;
    stop(pool).await;
}

#[actix::test]
async fn a_drain_serves_or_refuses_every_queue() {
    for backlog in [BacklogPolicy::Accept, BacklogPolicy::Refuse] {
        let (pool, mut peers, _) = with_queued_peers().await;
        // The others empty its queue.
        let blocked = block_at(&pool, 2).await;
        let drain = pool.drain(Drain::grace(TIME_LIMIT).backlog_on_close(backlog));
        let served = if backlog == BacklogPolicy::Accept { PEERS } else { 0 };
        let (report, ()) = tokio::join!(in_time(drain), async {
            eventually(|| pool.info().accepted == PEERS as u64).await;
            drop(blocked);
            for peer in &mut peers {
                let _ = peer.until_gone().await;
            }
        });
        assert_eq!((report.asked, report.unserved), (served, PEERS - served), "{backlog:?}");
    }
}

#[actix::test]
async fn at_the_limit_no_queue_starves() {
    let pool = echo(2).listener(own_sockets()).max_connections(1).start();
    let pool = in_time(pool).await.unwrap();
    let mut first = connect(&pool).await;
    first.echo("hello").await;
    let mut peers = connect_all(&pool).await;
    let shorter = queues(&pool).into_iter().min().unwrap();
    drop(first);
    let mut turns = [0; 2];
    for _ in 0..PEERS {
        eventually(|| pool.list().len() == 1 && peers.iter().any(|peer| is_first(&pool, peer))).await;
        let info = pool.list().remove(0);
        if turns.iter().sum::<usize>() < 2 * shorter {
            turns[info.acceptor] += 1;
        }
        let at = peers.iter().position(|peer| Some(peer.address()) == info.peer.socket()).unwrap();
        peers.swap_remove(at).echo("hello").await;
    }
    assert!(turns.iter().all(|turns| *turns >= shorter / 2), "{turns:?} of {shorter} each");
    eventually(|| pool.list().is_empty()).await;
    stop(pool).await;
}

fn is_first<A>(pool: &Pool<A>, peer: &Peer) -> bool {
    pool.list().first().is_some_and(|first| first.peer.socket() == Some(peer.address()))
}

#[actix::test]
async fn a_changed_option_reaches_every_queue() {
    let (pool, mut peers, _) = with_queued_peers().await;
    let (seen, saw) = std::sync::mpsc::channel();
    let address = pool.local_addr().unwrap();
    let changed = Listener::tcp(address).name("own").reuse_port_per_acceptor(true).nodelay(false);
    let changed = changed.on_accept(move |socket| {
        seen.send(socket.tcp_nodelay()?).unwrap();
        Ok(())
    });
    assert_eq!(in_time(pool.set_listeners(vec![changed])).await.unwrap().changed, ["own"]);
    in_time(pool.resume()).await.unwrap();
    all_are_served(&mut peers).await;
    all_are_served(&mut connect_all(&pool).await).await;
    assert_eq!(saw.try_iter().filter(|nodelay| !nodelay).count(), 2 * PEERS);
    stop(pool).await;
}

#[actix::test]
async fn own_sockets_cannot_be_changed_later() {
    let pool = started().await;
    let address = pool.local_addr().unwrap();
    for suspended in [false, true] {
        if suspended {
            in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
        }
        let one = Listener::tcp(address).name("own");
        let error = in_time(pool.set_listeners(vec![one])).await.unwrap_err().to_string();
        assert!(error.contains("reuse_port_per_acceptor") && error.contains("add it again"), "{error}");
    }
    stop(pool).await;
}

#[actix::test]
async fn all_sockets_are_handed_over() {
    let (old, mut peers, queued) = with_queued_peers().await;
    let mut successor = echo(1);
    for listening in old.listening_sockets().unwrap() {
        successor = successor.listener(Listener::from_socket(listening.socket).name(&*listening.name));
    }
    let new = in_time(successor.start()).await.unwrap();
    in_time(old.drain(Drain::grace(TIME_LIMIT).backlog_on_close(BacklogPolicy::Drop))).await;
    all_are_served(&mut peers).await;
    let served: Vec<_> = new.listeners().iter().map(|listener| listener.connections).collect();
    assert_eq!((served, old.info().accepted), (queued, 0));
    stop(new).await;
}

#[actix::test]
async fn a_port_that_is_in_use_is_not_shared() {
    let shares = |listener: Listener| async move { in_time(echo(2).listener(listener).start()).await };
    let at = |pool: &Pool<_>| Listener::tcp(pool.local_addr().unwrap()).reuse_port_per_acceptor(true);
    let first = started().await;
    let error = shares(at(&first)).await.unwrap_err();
    assert!(format!("{error:?}").contains("in use"), "{error:?}");
    stop(first).await;
    let first = shares(own_sockets().reuse_port(true)).await.unwrap();
    let second = shares(at(&first).reuse_port(true)).await.unwrap();
    stop(first).await;
    connect(&second).await.echo("hello").await;
    stop(second).await;
}

#[actix::test]
async fn only_tcp_listeners_have_own_sockets() {
    let folder = Folder::create();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for listener in [
        Listener::unix(folder.path("it.sock")),
        Listener::unix_abstract(format!("own sockets {}", std::process::id())),
        Listener::from_socket(tcp),
        Listener::from_transport(ScriptedTransport::in_memory().0),
    ] {
        let error = in_time(echo(2).listener(listener.reuse_port_per_acceptor(true)).start()).await.unwrap_err();
        assert!(
            matches!(&error, StartError::InvalidSetting(invalid) if invalid.setting == "reuse_port_per_acceptor"),
            "{error}"
        );
    }
}
