//! A `nats-server` process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use support::Folder;

pub struct NatsServer {
    process: Child,
    pub url: String,
    _store: Folder,
}

impl NatsServer {
    /// Starts a server with JetStream on a free port.
    pub fn start() -> Self {
        let store = Folder::create();
        let mut process = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
            .arg(store.path("jetstream"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nats-server is installed");
        let mut port = None;
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while port.is_none() || !line.contains("Server is ready") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "nats-server has ended");
            if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                port = Some(address.trim().rsplit(':').next().unwrap().to_owned());
            }
        }
        // The log goes on, and nothing reads it otherwise.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        NatsServer { process, url: format!("nats://127.0.0.1:{}", port.unwrap()), _store: store }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
