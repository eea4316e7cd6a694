//! `SystemdNotify`, in a process of its own with a socket that stands for systemd: this test program is started again as a server.

use std::io::{BufRead, BufReader, ErrorKind, Lines, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use actix_acceptor::{AcceptorPool, Conn, Drain, Framing, Listener, Next, Pool, Protocol, Shutdown, SystemdNotify};
use bytes::Bytes;
use rustix::process::{kill_process, Pid, Signal};
use support::acceptors::AcceptorFailure;
use support::draining::LONG;
use support::*;

/// Set for the process that is to serve: how.
const SERVE: &str = "SERVE_FOR_SYSTEMD";

/// Echoes lines. At `block`, it blocks its arbiter until the standard input has a line. It ignores a shutdown.
struct Blocking;

impl Protocol for Blocking {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        if packet == "block" {
            eprintln!("blocked");
            read_line();
        }
        Next::Send(packet)
    }

    fn shutdown(&mut self, _: Option<tokio::time::Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }
}

fn read_line() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The server's part; nothing to do in the test run itself.
#[test]
fn server_process() {
    let Ok(how) = std::env::var(SERVE) else { return };
    actix::System::new().block_on(async {
        match &*how {
            "supervised" => serve_supervised().await,
            "two pools" => serve_two().await,
            _ => serve(&how).await,
        }
    });
    std::process::exit(0);
}

fn builder() -> actix_acceptor::Builder<actix_acceptor::handlers::ProtocolService<Blocking>> {
    let pool = AcceptorPool::with_protocol(|_| Blocking).framing(Framing::lines()).acceptors(2);
    pool.idle_timeout(None).grace(Duration::ZERO).listener(Listener::tcp("127.0.0.1:0"))
}

async fn serve(how: &str) {
    let pool = builder().start().await.unwrap();
    let systemd = SystemdNotify::start(&[&pool]);
    let shutdown = Shutdown::on_signals().drain(&pool, Drain::grace(LONG));
    eprintln!("{}", pool.local_addr().unwrap());
    if how == "reload" {
        let line = || async { tokio::task::spawn_blocking(read_line).await.unwrap() };
        line().await;
        systemd.reload(line()).await;
        line().await;
        // Over before anything can look.
        assert_eq!(systemd.reload(async { 7 }).await, 7);
    }
    if how == "without systemd" {
        systemd.reload(async {}).await;
        eprintln!("{systemd:?}");
    }
    shutdown.await.unwrap();
}

/// The first of the pools ends before the other one.
async fn serve_two() {
    let (first, second) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    SystemdNotify::start(&[&first, &second]);
    let shutdown = Shutdown::on_signals().drain(&second, Drain::grace(LONG));
    eprintln!("{}", second.local_addr().unwrap());
    tokio::task::spawn_blocking(read_line).await.unwrap();
    first.stop(Duration::ZERO).await;
    shutdown.await.unwrap();
}

/// A pool that fails once.
async fn serve_supervised() {
    let make = || builder().max_restarts(0, LONG);
    let pause = Duration::from_millis(1);
    let supervised = AcceptorPool::supervised(make).backoff(pause, pause).start().await.unwrap();
    SystemdNotify::start(&[&supervised]);
    let mut pools = supervised.subscribe();
    tokio::task::spawn_blocking(read_line).await.unwrap();
    let failed = supervised.pool().unwrap();
    failed.acceptors()[0].do_send(AcceptorFailure::Stop);
    failed.stopped().await.unwrap_err();
    let is_new = |pool: &Option<Pool<_>>| pool.as_ref().is_some_and(Pool::is_ready);
    let address = pools.wait_for(is_new).await.unwrap().as_ref().unwrap().local_addr();
    let tell = async { eprintln!("{}", address.unwrap()) };
    let (report, ()) = tokio::join!(supervised.drain_on_signal(Drain::grace(LONG)), tell);
    report.unwrap();
}

/// The server, and the socket that stands for systemd.
struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    systemd: UnixDatagram,
    _folder: Folder,
}

impl Server {
    fn start(how: &str, environment: &[(&str, &str)]) -> Self {
        let folder = Folder::create();
        let systemd = UnixDatagram::bind(folder.path("notify")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "systemd_notify::server_process", "--nocapture"]).env(SERVE, how);
        command.env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID").env("NOTIFY_SOCKET", folder.path("notify"));
        if how == "without systemd" {
            command.env_remove("NOTIFY_SOCKET");
        }
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Server { child, lines, systemd, _folder: folder }
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// A peer at the address that it prints next.
    fn peer(&mut self) -> BlockingPeer {
        BlockingPeer::connect(self.line().parse().unwrap())
    }

    /// Lets it read a line.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The next message that systemd receives within this time.
    fn message_within(&self, limit: Duration) -> Option<String> {
        self.systemd.set_read_timeout(Some(limit)).unwrap();
        let mut message = [0; 4096];
        match self.systemd.recv(&mut message) {
            Ok(length) => Some(String::from_utf8(message[..length].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn message(&self) -> String {
        self.message_within(TIME_LIMIT).expect("a message")
    }

    /// The next message that is not about the watchdog.
    #[track_caller]
    fn state(&self) -> String {
        loop {
            let message = self.message();
            if message != WATCHDOG {
                return message;
            }
        }
    }

    /// Ends it with two signals, and returns the messages after the first one, without those of the watchdog. The peer holds it up,
    /// since a process that ends at once may not send the last message.
    fn stopped(self, mut peer: BlockingPeer, stopping: &str) -> Vec<String> {
        peer.echo("hello\n");
        self.signal(Signal::TERM);
        assert_eq!(self.state(), stopping);
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for its end, and returns the messages that are left.
    fn ended(mut self) -> Vec<String> {
        assert!(self.child.wait().unwrap().success());
        std::iter::from_fn(|| self.message_within(Duration::from_millis(1))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const WATCHDOG: &str = "WATCHDOG=1\n";
const STOPPING: &str = "STOPPING=1\nSTATUS=draining\n";

fn ready(address: impl std::fmt::Display) -> String {
    format!("READY=1\nSTATUS=listening on {address}\n")
}

#[test]
fn systemd_sees_ready_and_stopping_before_connections_end() {
    let mut server = Server::start("serve", &[]);
    let address = server.line();
    assert_eq!(server.message(), ready(&address));
    let mut peer = BlockingPeer::connect(address.parse().unwrap());
    peer.echo("hello\n");
    server.signal(Signal::TERM);
    assert_eq!(server.message(), STOPPING);
    // The connection ignores the shutdown, and is still served.
    peer.echo("still there\n");
    server.signal(Signal::TERM);
    assert_eq!(peer.read_to_end(), b"");
    assert_eq!(server.ended(), [""; 0]);
}

#[test]
fn systemd_is_notified_of_reloads_of_any_length() {
    let mut server = Server::start("reload", &[]);
    let address = server.line();
    assert_eq!(server.message(), ready(&address));
    let mut last = 0;
    for reload in 0..2 {
        server.go_on();
        let reloading = server.message();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading}"));
        let time: u64 = time.trim_end().parse().unwrap();
        assert!(time > last, "{last} {time}");
        last = time;
        if reload == 0 {
            server.go_on();
        }
        assert_eq!(server.message(), ready(&address));
    }
    let peer = BlockingPeer::connect(address.parse().unwrap());
    assert_eq!(server.stopped(peer, STOPPING), [""; 0]);
}

#[test]
fn the_watchdog_of_systemd_is_notified_twice_per_its_time() {
    let mut server = Server::start("serve", &[("WATCHDOG_USEC", "200000")]);
    let peer = server.peer();
    server.state();
    let began = Instant::now();
    for _ in 0..11 {
        assert_eq!(server.message(), WATCHDOG);
    }
    // The first one may be sent at once, and one a little too early after one that was late.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(server.stopped(peer, STOPPING).iter().all(|message| message == WATCHDOG));
}

#[test]
fn systemds_watchdog_hears_nothing_of_a_blocked_arbiter() {
    let mut server = Server::start("serve", &[("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "")]);
    let mut peer = server.peer();
    server.state();
    peer.echo("hello\n");
    assert_eq!(server.message(), WATCHDOG);
    peer.send("block\n");
    assert_eq!(server.line(), "blocked");
    // What was sent before, and at most one ping that was answered before.
    while server.message_within(Duration::from_millis(1)).is_some() {}
    let later = std::iter::from_fn(|| server.message_within(Duration::from_secs(1))).take(2).count();
    assert!(later <= 1);
    server.go_on();
    peer.expect("block\n");
    for _ in 0..3 {
        assert_eq!(server.message(), WATCHDOG);
    }
    // A stop is reported also while an arbiter is blocked.
    peer.send("block\n");
    assert_eq!(server.line(), "blocked");
    server.signal(Signal::TERM);
    assert_eq!(server.state(), STOPPING);
    server.go_on();
    drop(peer);
    server.ended();
}

#[test]
fn a_watchdog_for_another_process_is_not_notified() {
    let mut server = Server::start("serve", &[("WATCHDOG_USEC", "2000"), ("WATCHDOG_PID", "1")]);
    let mut peer = server.peer();
    peer.echo("hello\n");
    assert!(server.message().starts_with("READY=1\n"));
    server.signal(Signal::TERM);
    assert_eq!(server.message(), STOPPING);
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), [""; 0]);
}

#[test]
fn the_process_stops_with_the_last_of_its_pools() {
    let mut server = Server::start("two pools", &[]);
    let address = server.line();
    let message = server.message();
    let both = message.strip_prefix("READY=1\nSTATUS=listening on 127.0.0.1:").unwrap();
    assert!(both.ends_with(&format!("; listening on {address}\n")), "{both}");
    server.go_on();
    let ended = format!("STATUS=ended; listening on {address}\n");
    assert!(std::iter::from_fn(|| Some(server.message())).any(|message| message == ended));
    let peer = BlockingPeer::connect(address.parse().unwrap());
    assert_eq!(server.stopped(peer, "STOPPING=1\nSTATUS=ended; draining\n"), [""; 0]);
}

#[test]
fn a_supervised_pool_that_is_replaced_does_not_stop() {
    let mut server = Server::start("supervised", &[]);
    assert!(server.message().starts_with("READY=1\n"));
    server.go_on();
    let address = server.line();
    let statuses = std::iter::from_fn(|| Some(server.message()));
    let mut statuses = statuses.inspect(|message| assert!(message.starts_with("STATUS="), "{message}"));
    assert!(statuses.any(|message| message == format!("STATUS=listening on {address}\n")));
    let peer = BlockingPeer::connect(address.parse().unwrap());
    assert_eq!(server.stopped(peer, STOPPING), [""; 0]);
}

#[test]
fn without_systemd_nothing_is_started() {
    let mut server = Server::start("without systemd", &[("WATCHDOG_USEC", "2000")]);
    server.peer().echo("hello\n");
    assert_eq!(server.line(), "SystemdNotify { is_active: false }");
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), [""; 0]);
}

#[test]
fn a_server_serves_without_the_socket_of_systemd() {
    let mut server = Server::start("serve", &[("NOTIFY_SOCKET", "/no/such/socket"), ("WATCHDOG_USEC", "2000")]);
    server.peer().echo("hello\n");
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), [""; 0]);
}
