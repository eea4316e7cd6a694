//! Message brokers, which are programs of their own: redis-server, nats-server, and the example `pubsub`.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{on_core, Process};

/// Starts redis-server on a free port, on that core if one is given, without persistence.
pub(crate) fn redis(core: Option<usize>) -> io::Result<Process> {
    let found = Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Err(io::Error::other("redis-server is not installed"));
    }
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let process = Process::of(on_core(core, || command.spawn())?, addr)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = TcpStream::connect(addr) {
        if Instant::now() > deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(10));
    }
    Ok(process)
}

/// Builds the example and starts it. On one core it runs one acceptor.
pub(crate) fn pubsub(core: Option<usize>) -> io::Result<Process> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bin", "pubsub", "--manifest-path", manifest]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !build.stdin(Stdio::null()).status()?.success() {
        return Err(io::Error::other("the example pubsub does not build"));
    }
    let mut command = Command::new(env::current_exe()?.with_file_name("pubsub"));
    command.arg("127.0.0.1:0").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Process::of(on_core(core, || command.spawn())?, (Ipv4Addr::LOCALHOST, 0).into())?;
    process.read_port()?;
    Ok(process)
}

/// nats-server with JetStream. Dropping it ends the server and removes its folder.
pub(crate) struct Nats {
    pub(crate) process: Process,
    pub(crate) url: String,
    folder: PathBuf,
}

impl Nats {
    /// Starts it on a free port.
    pub(crate) fn start() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("bench-nats-{}", std::process::id()));
        let mut command = Command::new("nats-server");
        command.args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"]).arg(&folder);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(io::Error::other("nats-server is not installed"));
            }
            spawned => spawned?,
        };
        let log = child.stderr.take();
        let process = Process::of(child, (Ipv4Addr::LOCALHOST, 0).into())?;
        let mut nats = Nats { process, url: String::new(), folder };
        let mut log = BufReader::new(log.ok_or(io::ErrorKind::BrokenPipe)?);
        let mut line = String::new();
        while !line.contains("Server is ready") {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err(io::Error::other("nats-server has ended"));
            }
            if line.contains("Listening for client connections on ") {
                nats.url = format!("nats://127.0.0.1:{}", line.trim().rsplit(':').next().unwrap_or_default());
            }
        }
        // A full pipe would stop the server.
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(nats)
    }

    /// How many bytes it has on disk.
    pub(crate) fn stored(&self) -> io::Result<u64> {
        size(&self.folder)
    }
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
