//! Runs the playground as a process.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::thread;

use serde_json::Value;

use crate::client::{Client, Wire};
use crate::support::start_program;
pub use crate::support::{eventually, PATIENCE};

/// A running playground with a console. Dropping it ends the process.
pub struct Playground {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    wire: Wire,
    urls: Vec<String>,
    addresses: Vec<SocketAddr>,
    console: SocketAddr,
}

/// The exit code and output of a process that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Starts a playground and waits until it is ready. `options` are separated by spaces.
pub fn playground(options: &str) -> Playground {
    Playground::with_listeners(1, options)
}

/// The same with TLS on its first port.
pub fn playground_with_tls(options: &str) -> Playground {
    start_at(program(), "tls://127.0.0.1:0", 1, options)
}

/// The same with TLS on its first port and as many more as the options name.
pub fn playground_with_tls_and(more: usize, options: &str) -> Playground {
    start_at(program(), "tls://127.0.0.1:0", 1 + more, options)
}

/// The same with a descriptor limit.
#[cfg(unix)]
pub fn playground_with_descriptors(limit: u32, options: &str) -> Playground {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]).arg(program().get_program());
    start(shell, 1, options)
}

/// The same with a listener URL that is not TCP.
#[cfg(unix)]
pub fn playground_at(url: &str, options: &str) -> Playground {
    start_at(program(), url, 0, options)
}

fn start(command: Command, listeners: usize, options: &str) -> Playground {
    start_at(command, "tcp://127.0.0.1:0", listeners, options)
}

/// `ports`: the number of TCP listeners, with or without TLS. If it is 0, the URL is the only listener.
fn start_at(command: Command, url: &str, ports: usize, options: &str) -> Playground {
    let fixed = ["--listen", url, "--console", "127.0.0.1:0"];
    let mut child = spawn(command, fixed.into_iter().chain(options.split_whitespace()));
    let stdout = lines(child.stdout.take().unwrap());
    let stderr = lines(child.stderr.take().unwrap());
    let expect = |what: &str| -> String {
        let line = stdout.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {what:?} of {options}"));
        line.strip_prefix(what).unwrap_or_else(|| panic!("{line:?} instead of {what:?}")).to_owned()
    };
    let urls: Vec<_> = (0..ports.max(1)).map(|_| expect("listening ")).collect();
    let (kind, _) = url.split_once(':').unwrap();
    assert!(urls[0].starts_with(kind) && (ports > 0 || urls[0] == url), "{urls:?}");
    let address = |url: &String| url[6..].parse().unwrap();
    let addresses = urls.iter().take(ports).map(address).collect();
    let console = expect("console ").parse().unwrap();
    assert_eq!(expect("ready"), "");
    let wire = Wire::of(options);
    Playground { child, stdout, stderr, wire, urls, addresses, console }
}

/// Runs a playground that ends by itself.
pub fn run<'a>(options: impl IntoIterator<Item = &'a str>) -> Ended {
    let mut child = Ending(spawn(program(), options));
    let (stdout, stderr) = (lines(child.0.stdout.take().unwrap()), lines(child.0.stderr.take().unwrap()));
    let code = wait(&mut child.0);
    Ended { code, stdout: rest(&stdout), stderr: rest(&stderr) }
}

/// A process that is killed when the test ends.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_playground"))
}

fn spawn<'a>(mut command: Command, options: impl IntoIterator<Item = &'a str>) -> Child {
    command.args(options).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    start_program(&mut command)
}

/// Reads the lines on a thread, so that no pipe fills up and every wait has a limit.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn rest(lines: &Receiver<String>) -> String {
    let mut all = Vec::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        all.push(line);
    }
    all.join("\n")
}

fn wait(child: &mut Child) -> Option<i32> {
    let mut status = None;
    eventually(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code()
}

impl Playground {
    /// A playground with that many listeners. The options name all but the first.
    pub fn with_listeners(listeners: usize, options: &str) -> Self {
        start(program(), listeners, options)
    }

    /// The address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether the kernel refuses connections to the port.
    pub fn refuses(&self) -> bool {
        TcpStream::connect(self.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }

    /// Connects a client with the framing of the options.
    pub fn connect(&self) -> Client {
        Client::connect(self.address(), self.wire)
    }

    /// Whether a new connection is reset.
    pub fn resets(&self) -> bool {
        match Client::try_connect(self.address(), self.wire) {
            Ok(mut client) => client.is_reset(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Connects a client from 127.0.0.`last`.
    pub fn connect_from(&self, last: u8) -> Client {
        Client::connect_from(last, self.address(), self.wire)
    }

    /// Waits for a line on stderr that contains `words`. Drops the lines before it.
    pub fn says(&self, words: &str) -> bool {
        let lines = std::iter::from_fn(|| self.stderr.recv_timeout(PATIENCE).ok());
        lines.into_iter().any(|line| line.contains(words))
    }

    /// Connects a client and waits for its first echo.
    pub fn greeted(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.ask("hello"), "hello");
        client
    }

    pub fn console(&self) -> Client {
        Client::connect(self.console, Wire::Lines)
    }

    pub fn url(&self) -> String {
        self.urls[0].clone()
    }

    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The framing of the options.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The answer of the console to one command.
    pub fn command(&self, command: &str) -> String {
        self.console().ask(command)
    }

    pub fn json(&self, command: &str) -> Value {
        let answer = self.command(command);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{command}: {answer:?}: {error}"))
    }

    pub fn closed(&self, reason: &str) -> u64 {
        self.json("info")["closed"][reason].as_u64().unwrap()
    }

    /// Waits until `count` connections have been closed for this reason. The peer sees the end before it is counted.
    #[track_caller]
    pub fn has_closed(&self, reason: &str, count: u64) {
        eventually(|| self.closed(reason) >= count);
        assert_eq!(self.closed(reason), count, "{reason}");
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let mut kill = start_program(Command::new("kill").args([&format!("-{name}"), &*pid]));
        assert!(kill.wait().unwrap().success());
    }

    /// The resident memory of the process in bytes.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits until the process has ended.
    pub fn ended(mut self) -> Ended {
        let code = wait(&mut self.child);
        Ended { code, stdout: rest(&self.stdout), stderr: rest(&self.stderr) }
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
