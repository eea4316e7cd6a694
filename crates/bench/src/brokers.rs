//! Message brokers, which are programs of their own: redis-server, and the example `pubsub`.

use std::env;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
