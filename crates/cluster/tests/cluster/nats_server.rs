//! `nats-server` processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use support::Folder;

pub(crate) struct NatsServer {
    process: Child,
    pub(crate) url: String,
    port: u16,
    monitor: u16,
    /// The arguments, apart from the port.
    arguments: Vec<String>,
    store: Folder,
}

impl NatsServer {
    /// Starts a server with JetStream on a free port.
    pub(crate) fn start() -> Self {
        Self::with_arguments(&["--jetstream"])
    }

    /// Starts a server with these arguments on a free port.
    pub(crate) fn with_arguments(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::spawn(Folder::create(), arguments, None)
    }

    /// Starts a server with JetStream and this configuration on a free port.
    pub(crate) fn with_config(config: &str) -> Self {
        let store = Folder::create();
        let file = store.path("nats.conf");
        std::fs::write(&file, config).unwrap();
        Self::spawn(store, vec!["--jetstream".to_owned(), "--config".to_owned(), file.display().to_string()], None)
    }

    /// Starts three servers that are one NATS cluster, with JetStream.
    pub(crate) fn cluster() -> [Self; 3] {
        // Each has to know the port of the others before it starts: these were free a moment ago.
        let free: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let routes: Vec<_> = free.iter().map(|route| format!("nats://{}", route.local_addr().unwrap())).collect();
        drop(free);
        let start = |name: &str, at: usize| {
            let (own, all) = (routes[at].clone(), routes.join(","));
            let arguments =
                ["--jetstream", "--cluster_name", "test", "--name", name, "--cluster", &own, "--routes", &all];
            Self::with_arguments(&arguments)
        };
        [start("first", 0), start("second", 1), start("third", 2)]
    }

    fn spawn(store: Folder, arguments: Vec<String>, port: Option<u16>) -> Self {
        let (process, port, monitor) = spawn(&store, &arguments, port);
        NatsServer { process, url: format!("nats://127.0.0.1:{port}"), port, monitor, arguments, store }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends the server in order (SIGTERM).
    #[allow(dead_code, reason = "not used by all tests")]
    pub(crate) fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        self.process.wait().unwrap();
    }

    /// Replaces the configuration for [`start_again`](Self::start_again).
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.store.path("nats.conf"), config).unwrap();
    }

    /// Removes what the server has stored, while it does not run.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.store.path("jetstream")).unwrap();
    }

    /// Starts the server on its port, after [`stop`](Self::stop).
    pub(crate) fn start_again(&mut self) {
        (self.process, _, self.monitor) = spawn(&self.store, &self.arguments, Some(self.port));
    }

    /// Starts the server again if it has ended by itself.
    #[allow(dead_code, reason = "not used by all tests")]
    pub(crate) fn start_if_ended(&mut self) {
        if self.process.try_wait().unwrap().is_some() {
            self.start_again();
        }
    }

    /// Starts the server on its port with other arguments, after [`stop`](Self::stop).
    pub(crate) fn start_again_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.start_again();
    }

    /// Stops the process without ending it (SIGSTOP): its connections stay open, and are silent.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets the process run again after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), signal).unwrap();
    }

    /// How many clients are subscribed to this subject.
    pub(crate) fn subscriptions(&self, subject: &str) -> usize {
        self.subjects(subject).iter().filter(|found| *found == subject).count()
    }

    /// The subjects with this beginning, once for each client that is subscribed.
    pub(crate) fn subjects(&self, prefix: &str) -> Vec<String> {
        let connections = self.monitor("/connz?subs=1");
        connections.split('"').filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// A page of the monitor.
    pub(crate) fn monitor(&self, path: &str) -> String {
        let mut http = TcpStream::connect(("127.0.0.1", self.monitor)).unwrap();
        http.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        http.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn spawn(store: &Folder, arguments: &[String], port: Option<u16>) -> (Child, u16, u16) {
    let port = port.map_or("-1".to_owned(), |port| port.to_string());
    let mut process = Command::new("nats-server")
        .args(["--addr", "127.0.0.1", "--port", &port, "--http_port", "-1", "--store_dir"])
        .arg(store.path("jetstream"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nats-server is installed");
    let (mut port, mut monitor) = (None, None);
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let (mut line, mut lines) = (String::new(), String::new());
    let number = |line: &str| line.trim().rsplit(':').next().unwrap().parse().unwrap();
    while !line.contains("Server is ready") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "nats-server has ended: {lines}");
        lines.push_str(&line);
        if line.contains("Listening for client connections on ") {
            port = Some(number(&line));
        } else if line.contains("Starting http monitor on ") {
            monitor = Some(number(&line));
        }
    }
    // The server goes on writing, and a full pipe would stop it.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (process, port.unwrap(), monitor.unwrap())
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Also ends a process that is stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
