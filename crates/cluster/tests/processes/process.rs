//! The side of the test: starts a node as a process, and ends it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use support::in_time;
use tokio::sync::mpsc;

use crate::checks::{Checks, Owned};
use crate::client::Client;

pub(crate) const SERVERS: &str = "CLUSTER_TEST_SERVERS";
pub(crate) const NODE: &str = "CLUSTER_TEST_NODE";
pub(crate) const REPLICAS: &str = "CLUSTER_TEST_REPLICAS";

/// The TTL of all nodes.
pub(crate) const TTL: Duration = Duration::from_secs(2);

/// A lease is gone at most this time after its TTL, as other nodes see it: the server looks for expired ones at intervals, and the
/// machine has other work.
pub(crate) const SLACK: Duration = Duration::from_secs(4);

/// A node. It is killed when this is dropped.
pub(crate) struct Process {
    port: u16,
    child: Child,
    /// Reads what it reports.
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) async fn start(name: &str, servers: &str) -> Self {
        Self::try_start(name, servers, 1, &Arc::default()).await.unwrap()
    }

    /// Starts a node, and waits until it has joined the others. The error is that of the node.
    pub(crate) async fn try_start(
        name: &str,
        servers: &str,
        replicas: usize,
        checks: &Arc<Checks>,
    ) -> Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node::a_node", "--ignored", "--nocapture"])
            .envs([(SERVERS, servers), (NODE, name), (REPLICAS, &replicas.to_string())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Process { port: 0, child, reader: None };
        let (reports, mut received) = mpsc::unbounded_channel();
        let (checks, node, process_id) = (checks.clone(), name.to_owned(), process.child.id());
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((_, report)) = line.split_once("> ") else { continue };
                match report.strip_prefix("owned ") {
                    Some(owned) => checks.owned(Owned::parse(owned, process_id, &node)),
                    None => drop(reports.send(report.to_owned())),
                }
            }
        });
        process.reader = Some(reader);
        let report = in_time(received.recv()).await.unwrap_or("it has ended".to_owned());
        match report.strip_prefix("ready ") {
            Some(port) => process.port = port.parse().unwrap(),
            None => return Err(report),
        }
        Ok(process)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.port).await.unwrap()
    }

    /// A client whose connection has this name.
    pub(crate) async fn named(&self, name: &str) -> Client {
        let mut client = self.client().await;
        assert_eq!(client.ask(&format!("register {name}")).await.unwrap(), "ok");
        client
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until the process has ended, after [`Signal::SIGTERM`].
    pub(crate) async fn until_ended(&mut self) {
        in_time(async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The last reports are on their way.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
