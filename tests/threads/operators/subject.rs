//! A small pool with a few connections under light traffic.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{
    info::Status, AcceptorPool, Active, Closed, Conn, Connection, ConnectionId, ConnectionInfo, Framing, Listener,
    Next, Pool, PoolHandle, Protocol, Timeout,
};
use bytes::Bytes;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{timeout, Instant};

use super::model::State;
use super::trap::{Place, Trap};
use super::LIMIT;

/// Greets with its number, and sends everything back. Its callbacks are places to call from.
pub(super) struct Greeter {
    number: u8,
    trap: Option<Arc<Trap>>,
}

impl Greeter {
    pub(super) fn new(number: u8) -> Self {
        Greeter { number, trap: None }
    }

    pub(super) fn with_trap(trap: Arc<Trap>) -> Self {
        Greeter { number: 0, trap: Some(trap) }
    }

    fn at(&self, place: Place) {
        if let Some(trap) = &self.trap {
            trap.at(place);
        }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.at(Place::DropOfProtocol);
    }
}

impl Protocol for Greeter {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn init(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::Init);
        Next::Continue
    }

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::Ack);
        Next::Send(Bytes::from(self.number.to_string()))
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::Packet);
        match self.trap.as_ref().and_then(|trap| trap.in_a_wait()) {
            Some(call) => conn.wait(call, |(), _, _| Next::Continue),
            None => Next::Send(packet),
        }
    }

    fn user(&mut self, message: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::User);
        Next::Send(message)
    }

    fn timeout(&mut self, _: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::Timeout);
        Next::Continue
    }

    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::HalfClosed);
        Next::Continue
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::Passive);
        conn.set_active(Active::Always);
        Next::Continue
    }

    fn shutdown(&mut self, _: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        self.at(Place::Shutdown);
        Next::Stop
    }

    fn closed(&mut self, _: &Closed, _: &ConnectionInfo) {
        self.at(Place::Closed);
    }
}

/// The pool, as the calls see it.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) pool: PoolHandle,
    pub(super) name: String,
    /// The grace of a drain.
    pub(super) grace: Duration,
    /// The first connection. It was accepted by TCP, and so were the others.
    pub(super) first: ConnectionId,
    pub(super) tcp: String,
    pub(super) files: [PathBuf; 2],
    pub(super) trap: Option<Arc<Trap>>,
}

impl Subject {
    pub(super) fn typed<R>(&self, call: impl FnOnce(&Pool<Connection<Greeter>>) -> R) -> R {
        call(&self.pool.typed().expect("a pool of protocols"))
    }

    /// Two listeners: by TCP, and a Unix socket whose path differs after a replacement.
    pub(super) fn listeners(&self, replaced: bool) -> Vec<Listener> {
        let tcp = Listener::tcp(&self.tcp).name("tcp");
        let tcp = match &self.trap {
            Some(trap) => trap.listener(tcp),
            None => tcp,
        };
        vec![tcp, Listener::unix(&self.files[usize::from(replaced)])]
    }

    pub(super) fn names(&self, replaced: bool) -> Vec<String> {
        vec!["tcp".to_owned(), self.files[usize::from(replaced)].display().to_string()]
    }

    pub(super) fn listener_names(&self) -> Vec<String> {
        self.pool.listeners().iter().map(|listener| listener.name.to_string()).collect()
    }

    /// The counts of the pool are consistent.
    #[track_caller]
    pub(super) fn adds_up(&self) {
        let info = self.pool.info();
        assert_eq!(info.accepted, info.refused.total() + info.connections + info.closed.total(), "{info:?}");
    }

    /// The state that can be seen without a new connection.
    fn seen(&self) -> State {
        let info = self.pool.info();
        let counted: usize = self.pool.listeners().iter().map(|listener| listener.connections).sum();
        let names = self.listener_names();
        State {
            status: info.status,
            max_connections: info.max_connections,
            acceptors: info.acceptors.len(),
            replaced: names == self.names(true),
            greeting: [0; 2],
            killed: self.pool.list().iter().all(|connection| connection.id != self.first),
            closing: false,
            exempt: counted < info.connections as usize,
        }
    }

    /// The state, and the greeting of a new connection if there are any.
    pub(super) async fn state(&self, matches: impl Fn(&State) -> bool, what: &str) -> State {
        let mut seen = self.seen();
        if seen.status == Status::Running {
            seen.greeting = self.greeting(what).await;
            // The connection that was greeted is gone.
            let live = usize::from(!seen.killed) + 2;
            limited(self.pool.wait_for(|connections| connections <= live, None), what).await.unwrap();
        }
        let greeting = seen.greeting;
        // A kill takes a moment; a drain, too.
        let started = std::time::Instant::now();
        loop {
            let seen = State { greeting, ..self.seen() };
            if matches(&seen) || started.elapsed() > LIMIT {
                return seen;
            }
            tokio::time::sleep(ms(1)).await;
        }
    }

    async fn greeting(&self, what: &str) -> [u8; 2] {
        let mut greeting = [0; 2];
        let mut peer = limited(TcpStream::connect(&*self.tcp), what).await.unwrap();
        limited(peer.read_exact(&mut greeting), what).await.unwrap();
        greeting
    }

    /// Nothing is left of the pool: no port, no file, no name, no connection.
    pub(super) async fn is_gone(&self, what: &str) {
        assert_eq!(self.pool.status(), Status::Ended, "{what}");
        assert_eq!((self.pool.connections(), self.pool.list().len()), (0, 0), "{what}");
        self.adds_up();
        assert!(AcceptorPool::find(&self.name).is_none(), "{what}");
        assert!(self.listener_names().is_empty() && self.pool.list().is_empty(), "{what}");
        assert!(limited(TcpStream::connect(&*self.tcp), what).await.is_err(), "{what}: the port is open");
        for file in &self.files {
            assert!(!file.exists(), "{what}: {file:?} is left");
            assert!(UnixStream::connect(file).await.is_err(), "{what}");
        }
    }
}

/// Fails the test, naming what did not end.
pub(super) async fn limited<F: std::future::Future>(future: F, what: &str) -> F::Output {
    match timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {LIMIT:?}"),
    }
}

/// The subject with its three peers.
pub(super) struct Served {
    pub(super) subject: Subject,
    quiet: Arc<AtomicBool>,
    peers: Vec<JoinHandle<()>>,
}

impl Served {
    pub(super) async fn start(folder: &Folder, number: usize) -> Self {
        let files = ["a", "b"].map(|name| folder.path(&format!("{number}{name}")));
        let name = format!("subject {number}");
        let pool = AcceptorPool::with_protocol(|_| Greeter::new(0))
            .name(&*name)
            .framing(Framing::lines())
            .acceptors(2)
            .max_connections(100)
            .watchdog(None)
            .listener(Listener::tcp("127.0.0.1:0").name("tcp"))
            .listener(Listener::unix(&files[0]))
            .start()
            .await
            .unwrap();
        let (tcp, quiet) = (pool.local_addr().unwrap().to_string(), Arc::new(AtomicBool::new(false)));
        let mut peers = Vec::new();
        for _ in 0..3 {
            let mut peer = connect(&pool).await;
            peer.expect(b"0\n").await;
            peers.push(actix_rt::spawn(talk(peer.0, quiet.clone())));
        }
        let first = pool.list()[0].id;
        Served {
            subject: Subject { pool: pool.untyped(), name, grace: LIMIT, first, tcp, files, trap: None },
            quiet,
            peers,
        }
    }

    /// Stops the pool if it is not stopped, and checks that nothing is left of it.
    pub(super) async fn end(self, what: &str) {
        let Served { subject, quiet, peers } = self;
        limited(subject.pool.stop(Duration::ZERO), what).await;
        quiet.store(true, SeqCst);
        for peer in peers {
            limited(peer, what).await.unwrap();
        }
        subject.is_gone(what).await;
    }
}

/// A word and its echo, again and again, until the connection ends.
async fn talk(mut peer: TcpStream, quiet: Arc<AtomicBool>) {
    let mut buffer = [0; 256];
    while !quiet.load(SeqCst) {
        if peer.write_all(b"word\n").await.is_err() {
            return;
        }
        // Perhaps a message of the program's instead.
        match peer.read(&mut buffer).await {
            Ok(read) if read > 0 => tokio::time::sleep(ms(1)).await,
            _ => return,
        }
    }
}
