//! Instructions in user space, counted by callgrind.
//!
//! A server is run twice, for few turns of its connections and for many. What lies between the two counts is the
//! messages' alone: start-up, the connections and the end are in both. Watched like this a server is some fifty
//! times slower than its load, so each of its waits finds many connections ready, in every run alike.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::load::Load;
use crate::process::Process;
use crate::servers::Server;

const FEW: usize = 20;
const MANY: usize = 120;

/// Valgrind is installed. Dropping removes the folder it wrote into.
pub(crate) struct Callgrind {
    folder: PathBuf,
}

impl Callgrind {
    /// `None`: there is no valgrind.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let folder = format!("ratios-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        fs::create_dir_all(&folder)?;
        Ok(Some(Self { folder }))
    }

    /// Instructions per message, where each of these connections sends `in_flight` of them at once.
    pub(crate) fn per_message(&self, server: Server, connections: usize, in_flight: usize) -> io::Result<f64> {
        let burst = server.wire().burst(64, in_flight);
        let few = self.total(server, connections, &burst, FEW)?;
        let many = self.total(server, connections, &burst, MANY)?;
        let messages = (MANY - FEW) * connections * in_flight;
        Ok(many.saturating_sub(few) as f64 / messages as f64)
    }

    fn total(&self, server: Server, connections: usize, burst: &[u8], turns: usize) -> io::Result<u64> {
        let counts = self.folder.join(format!("{}-{turns}", server.name()));
        let mut command = Command::new("valgrind");
        command
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(std::env::current_exe()?)
            .stderr(Stdio::null());
        let process = Process::start_under(command, server, None)?;
        let mut load = Load::connect(process.place(), connections, burst.to_vec())?;
        load.turns(turns)?;
        process.finish()?;
        let counts = fs::read_to_string(counts)?;
        let total = counts.lines().find_map(|line| line.strip_prefix("totals:"));
        total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| io::Error::other("callgrind wrote no totals"))
    }
}

impl Drop for Callgrind {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
