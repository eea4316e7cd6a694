//! A server that runs out of descriptors: connections go on, new peers are served as soon as possible.
//!
//! The server is a process of its own with a low limit of open files: this program, started once more.
#![cfg(target_os = "linux")]

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use actix_acceptor::{limits::AtLimit, telemetry::RefusalReason, AcceptorPool, PoolHandle, Socket};
use futures::{SinkExt, StreamExt};
use support::{program, TIME_LIMIT};
use tokio_util::codec::LinesCodec;

/// Set where the program is to be the server: what it does when there are no descriptors left.
const SERVER: &str = "ACTIX_ACCEPTOR_TEST_SERVER";
/// So many descriptors does the server have.
const LIMIT: u64 = 64;
const REFUSAL_MESSAGE: &str = "out of descriptors\n";

/// What the tests start as a process of its own; without the word for it, nothing.
#[actix::test]
async fn server_process() {
    let Ok(what) = env::var(SERVER) else { return };
    let filter = tracing_subscriber::EnvFilter::new("info");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let handle = Arc::new(OnceLock::<PoolHandle>::new());
    let (pool, opened) = (handle.clone(), Arc::<Mutex<Vec<File>>>::default());
    let server = AcceptorPool::with_fn(move |socket| serve(socket, pool.clone(), opened.clone()));
    let server = server.acceptors(1).idle_timeout(None).reserve_descriptor(what != "wait");
    let server = if what == "close" { server.at_limit(AtLimit::Close) } else { server };
    let says = ["say refusal_message", "close"].contains(&&*what);
    let server = server.refusal_message(if says { REFUSAL_MESSAGE } else { "" });
    let server = server.bind("127.0.0.1:0").await.unwrap();
    handle.set(server.untyped()).unwrap();
    println!("\nlistening {}", server.local_addr().unwrap());
    // Ended by the process that started it.
    server.stopped().await.unwrap();
}

/// Lines come back, but for those that do something about the process's descriptors.
async fn serve(socket: Socket, pool: Arc<OnceLock<PoolHandle>>, opened: Arc<Mutex<Vec<File>>>) {
    let mut lines = socket.framed(LinesCodec::new());
    while let Some(Ok(line)) = lines.next().await {
        let answer = match &*line {
            "use them up" => {
                let mut opened = opened.lock().unwrap();
                while let Ok(file) = File::open("/dev/null") {
                    opened.push(file);
                }
                opened.len().to_string()
            }
            "give back" => {
                opened.lock().unwrap().clear();
                "ok".to_owned()
            }
            "numbers" => {
                let info = pool.get().unwrap().info();
                let fd = info.refused.get(RefusalReason::Descriptors);
                assert_eq!(info.accepted, info.refused.total() + info.connections + info.closed.total());
                format!("{} {} {} {fd}", info.max_connections, info.connections, info.refused.total())
            }
            _ => line,
        };
        if lines.send(answer).await.is_err() {
            return;
        }
    }
}

struct Server {
    child: Child,
    address: SocketAddr,
    log: Receiver<String>,
}

impl Server {
    fn start(what: &str) -> Server {
        let mut command = program("sh");
        command
            .args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" --exact descriptors::server_process --nocapture")]);
        command.arg(env::current_exe().unwrap()).env(SERVER, what);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, log) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        let address = loop {
            let line = said.recv_timeout(TIME_LIMIT).expect("it listens");
            if let Some(address) = line.strip_prefix("listening ") {
                break address.parse().unwrap();
            }
        };
        Server { child, address, log }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect_timeout(&self.address, TIME_LIMIT).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    fn served(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.request("hello"), "hello");
        client
    }

    /// The time that the process has had the processor.
    fn processor(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_the_name = stat.rsplit_once(") ").unwrap().1;
        let ticks: Vec<u64> = after_the_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse().unwrap()).collect();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap() as u64;
        Duration::from_millis((ticks[0] + ticks[1]) * 1_000 / per_second)
    }

    /// Waits for the next line of the log with these words in it.
    fn logs(&self, words: &str) -> Instant {
        loop {
            let line = self.log.recv_timeout(TIME_LIMIT).unwrap_or_else(|_| panic!("nothing of {words:?}"));
            if line.contains(words) {
                return Instant::now();
            }
        }
    }

    /// How many lines with these words were logged since the last call.
    fn logged(&self, words: &str) -> usize {
        self.log.try_iter().filter(|line| line.contains(words)).count()
    }

    /// The same, those of this time included.
    fn logged_for(&self, time: Duration, words: &str) -> usize {
        let over = Instant::now() + time;
        let next = || self.log.recv_timeout(over.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).filter(|line| line.contains(words)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Read by a thread of its own, so that no pipe fills up and every wait is bounded.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

struct Client(TcpStream);

impl Client {
    fn send_line(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.0.read_exact(&mut byte).unwrap();
            match byte[0] {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    fn request(&mut self, line: &str) -> String {
        self.send_line(line);
        self.read_line()
    }

    /// The limit in force, connections, those refused, those refused for want of a descriptor.
    fn numbers(&mut self) -> [u64; 4] {
        let numbers = self.request("numbers");
        let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }

    /// What still comes until the other side goes.
    fn until_gone(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

const CANNOT: &str = "accept failed; retrying after a pause";
/// One a second: the time for which the process is watched.
const LINES: u32 = 3;

#[test]
fn the_lowered_limit_is_logged_and_fully_usable() {
    let server = Server::start("wait");
    server.logs("connection limit lowered to fit the limit of open files");
    let mut first = server.served();
    let [max, ..] = first.numbers();
    assert!((10..LIMIT).contains(&max), "{max}");
    let mut clients: Vec<_> = (1..max).map(|_| server.served()).collect();
    let mut waiting = server.connect();
    waiting.send_line("hello");
    assert_eq!(first.numbers(), [max, max, 0, 0]);
    assert_eq!(server.logged(CANNOT), 0);
    clients.pop();
    assert_eq!(waiting.read_line(), "hello");
}

#[test]
fn without_descriptors_connections_go_on_quietly() {
    let server = Server::start("wait");
    let mut clients: Vec<_> = (0..5).map(|_| server.served()).collect();
    assert!(clients[0].request("use them up").parse::<u32>().unwrap() > 10);
    let mut waiting: Vec<_> = (0..5).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send_line("hello"));
    let began = server.logs(CANNOT);
    let processor = server.processor();
    for _ in 0..LINES {
        clients.iter_mut().for_each(|client| assert_eq!(client.request("still here"), "still here"));
        server.logs(CANNOT);
    }
    // What is heard of a line is a little later than the line.
    assert!(began.elapsed() > (LINES - 1) * Duration::from_secs(1), "{LINES} more lines in {:?}", began.elapsed());
    let processor = server.processor() - processor;
    assert!(processor < Duration::from_millis(600), "{processor:?} of the processor");
    assert_eq!(clients[0].numbers()[1..], [5, 0, 0]);
    for _ in 0..3 {
        // The third line a second is said before one of the longest pauses.
        for _ in 0..3 {
            server.logs(CANNOT);
        }
        assert_eq!(clients[0].request("give back"), "ok");
        let back = Instant::now();
        waiting.iter_mut().for_each(|client| assert_eq!(client.read_line(), "hello"));
        assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
        clients[0].request("use them up");
        waiting = (0..5).map(|_| server.connect()).collect();
        waiting.iter_mut().for_each(|client| client.send_line("hello"));
    }
}

#[test]
fn a_reserved_descriptor_refuses_peers_at_once() {
    let server = Server::start("refuse");
    let mut clients: Vec<_> = (0..5).map(|_| server.served()).collect();
    clients[0].request("use them up");
    let (processor, began) = (server.processor(), Instant::now());
    for round in 1..=50 {
        let came = Instant::now();
        assert_eq!(server.connect().until_gone(), "");
        assert!(came.elapsed() < Duration::from_secs(1), "{:?}", came.elapsed());
        assert_eq!(clients[1].numbers()[1..], [5, round, round]);
    }
    // Several at once, too.
    let mut many: Vec<_> = (0..50).map(|_| server.connect()).collect();
    many.iter_mut().for_each(|client| assert_eq!(client.until_gone(), ""));
    assert_eq!(clients[1].numbers()[1..], [5, 100, 100]);
    let seconds = began.elapsed().as_secs() as usize + 1;
    let lines = server.logged_for(LINES * Duration::from_secs(1), CANNOT);
    assert!((1..=seconds).contains(&lines), "{lines} lines in {seconds} s");
    let processor = server.processor() - processor;
    assert!(processor < Duration::from_millis(600), "{processor:?} of the processor");
    clients[0].request("give back");
    server.served();
    assert_eq!(clients[0].request("still here"), "still here");
}

#[test]
fn a_refusal_message_frees_the_reserved_descriptor() {
    let server = Server::start("say refusal_message");
    let mut clients: Vec<_> = (0..5).map(|_| server.served()).collect();
    clients[0].request("use them up");
    // The first ones do not even leave: they wait for more than the refusal_message.
    let lingering: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let began = Instant::now();
    for _ in 0..20 {
        let heard = server.connect().until_gone();
        assert!(heard.is_empty() || heard == REFUSAL_MESSAGE, "{heard:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(clients[1].numbers()[1..], [5, 23, 23]);
    drop(lingering);
}

#[test]
fn refused_peers_leave_descriptors_for_the_program() {
    let server = Server::start("close");
    let mut first = server.served();
    let [max, ..] = first.numbers();
    let _clients: Vec<_> = (1..max).map(|_| server.served()).collect();
    // They have read the message, and do not leave.
    let mut lingering: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let answered = |client: &mut Client| client.0.read(&mut [0]).is_ok_and(|read| read > 0);
    let heard: usize = lingering.iter_mut().map(|client| usize::from(answered(client))).sum();
    let left: u32 = first.request("use them up").parse().unwrap();
    assert!(left >= 8, "{left} descriptors are left");
    assert!(heard >= 4, "{heard} were answered");
    assert_eq!(first.numbers()[1..], [max, 40, 0]);
}
