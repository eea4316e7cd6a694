//! A hot upgrade: another process takes the listening sockets over, and no peer notices.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_acceptor::{
    handlers::NoActor, limits::BacklogPolicy, transport::ListeningSocket, transport::OwnedListener, AcceptorPool,
    Drain, Listener, Pool, Socket,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers one request, also while its pool drains.
async fn answer(mut socket: Socket) {
    let mut request = [0; 5];
    if socket.read_exact(&mut request).await.is_ok() {
        let _ = socket.write_all(&request).await;
    }
}

/// Starts this program as the successor, with the socket as its standard input. It serves until its parent asks for the
/// number of peers, through the file.
fn start_successor(socket: OwnedListener, folder: &Path) -> (Child, impl Sized + use<>) {
    let mut successor = std::process::Command::new(std::env::current_exe().unwrap());
    successor.args(["hand_over::successor", "--exact", "--nocapture", "--test-threads=1"]);
    successor.env("SUCCESSOR", folder).stdin(OwnedFd::from(socket)).stdout(Stdio::piped());
    let mut child = successor.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("successor is ready")));
    (child, lines)
}

/// Runs as the child of the tests below; by itself it has nothing to do.
#[actix::test]
async fn successor() {
    let Some(folder) = std::env::var_os("SUCCESSOR").map(PathBuf::from) else { return };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let is_tcp = socket2::SockRef::from(&socket).local_addr().unwrap().as_socket().is_some();
    let listener = match is_tcp {
        true => Listener::from_socket(std::net::TcpListener::from(socket)),
        false => Listener::from_socket(std::os::unix::net::UnixListener::from(socket)),
    };
    let pool = in_time(AcceptorPool::with_fn(answer).acceptors(2).listener(listener).start()).await.unwrap();
    println!("successor is ready");
    // Ends by itself if its parent has failed.
    for _ in 0..12_000 {
        if folder.join("stop").exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    in_time(pool.drain(Drain::grace(TIME_LIMIT))).await;
    std::fs::write(folder.join("served"), pool.info().accepted.to_string()).unwrap();
}

/// Peers that connect one after the other, each for one echo.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start<S: Read + Write + 'static>(connect: impl Fn() -> std::io::Result<S> + Clone + Send + 'static) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (stop, served, connect) = (stop.clone(), served.clone(), connect.clone());
                std::thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        let mut peer = connect().expect("no peer is refused");
                        peer.write_all(b"hello").expect("no peer is lost");
                        peer.read_exact(&mut [0; 5]).expect("every peer is served");
                        served.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        Load { stop, threads, served }
    }

    async fn more(&self, peers: usize) {
        let target = self.served.load(SeqCst) + peers;
        eventually(|| self.served.load(SeqCst) >= target).await;
    }

    fn stop(self) -> usize {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.served.load(SeqCst)
    }
}

fn only(pool: &Pool<NoActor>) -> ListeningSocket {
    let mut sockets = pool.listening_sockets().unwrap();
    assert_eq!(sockets.len(), 1);
    sockets.remove(0)
}

/// Every peer is counted by one of the processes.
async fn hand_over(pool: Pool<NoActor>, load: Load) {
    load.more(50).await;
    let folder = Folder::create();
    let socket = only(&pool);
    assert_eq!((&socket.address, &*socket.name), (&pool.local_addrs()[0], "handed"));
    let (mut child, _its_output) = start_successor(socket.socket, &folder.path(""));
    load.more(50).await;
    let drain = Drain::grace(TIME_LIMIT).backlog_on_close(BacklogPolicy::Drop);
    let report = in_time(pool.drain(drain)).await;
    assert_eq!((report.forced, report.unserved), (0, 0));
    load.more(200).await;
    let served = load.stop();
    std::fs::write(folder.path("stop"), "").unwrap();
    assert!(child.wait().unwrap().success());
    let by_successor: u64 = std::fs::read_to_string(folder.path("served")).unwrap().parse().unwrap();
    assert_eq!(pool.info().accepted + by_successor, served as u64);
    assert!(by_successor >= 200, "{by_successor}");
}

#[actix::test]
async fn a_port_is_handed_over_to_another_process() {
    let pool = in_time(
        AcceptorPool::with_fn(answer).acceptors(2).listener(Listener::tcp("127.0.0.1:0").name("handed")).start(),
    )
    .await
    .unwrap();
    let address: SocketAddr = pool.local_addr().unwrap();
    hand_over(pool, Load::start(move || TcpStream::connect(address))).await;
    assert!(TcpStream::connect(address).is_err(), "both have closed it");
}

#[actix::test]
async fn a_unix_socket_is_handed_over_with_its_file() {
    let folder = Folder::create();
    let path = folder.path("it.sock");
    let pool =
        in_time(AcceptorPool::with_fn(answer).acceptors(2).listener(Listener::unix(&path).name("handed")).start())
            .await
            .unwrap();
    let to = path.clone();
    hand_over(pool, Load::start(move || UnixStream::connect(&to))).await;
    assert!(path.exists(), "the file was left to the successor, which has inherited it");
}
