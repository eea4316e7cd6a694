//! Instructions in user space, counted by callgrind.
//!
//! A server is run twice, for a few turns of its connections and for many. The difference of the two counts is the
//! cost of the messages: start-up, connecting and the end are in both counts. Under callgrind a server is about fifty
//! times slower than its load, so in every run each of its waits finds many connections ready.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::load::Load;
use crate::process::Process;
use crate::servers::Server;

const FEW: usize = 20;
const MANY: usize = 120;

/// An installed valgrind and the folder of its output. Dropping it removes the folder.
pub(crate) struct Callgrind {
    folder: PathBuf,
}

impl Callgrind {
    /// Looks for valgrind. `None` if it is not installed.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let folder = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Some(Self { folder }))
    }

    /// Instructions per message. Each connection sends `in_flight` messages at once.
    pub(crate) fn per_message(&self, server: Server, connections: usize, in_flight: usize) -> io::Result<f64> {
        let burst = server.wire().burst(64, in_flight);
        let few = self.total(server, connections, &burst, FEW)?;
        let many = self.total(server, connections, &burst, MANY)?;
        let messages = (MANY - FEW) * connections * in_flight;
        Ok(many.saturating_sub(few) as f64 / messages as f64)
    }

    fn total(&self, server: Server, connections: usize, burst: &[u8], turns: usize) -> io::Result<u64> {
        let run = format!("{}-{turns}", server.name());
        let process = Process::start_under(self.command(&run)?, server, None)?;
        let mut load = Load::connect(process.place(), connections, burst.to_vec())?;
        load.turns(turns)?;
        process.finish()?;
        self.counted(&run)
    }

    /// A command that runs this binary under callgrind. `run` names the counts.
    pub(crate) fn command(&self, run: &str) -> io::Result<Command> {
        let mut command = Command::new("valgrind");
        command
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", self.folder.join(run).display()))
            .arg(std::env::current_exe()?)
            .stderr(Stdio::null());
        Ok(command)
    }

    /// All instructions of a run that has ended.
    pub(crate) fn counted(&self, run: &str) -> io::Result<u64> {
        let counts = fs::read_to_string(self.folder.join(run))?;
        let total = counts.lines().find_map(|line| line.strip_prefix("totals:"));
        total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| io::Error::other("callgrind wrote no totals"))
    }
}

impl Drop for Callgrind {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
