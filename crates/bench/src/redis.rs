//! redis-server as a yardstick: a separate program that does nothing but deliver messages from one thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{on_core, Process};

/// Starts redis-server on a free port, on that core if one is given, without persistence.
pub(crate) fn start(core: Option<usize>) -> io::Result<Process> {
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
    let child = on_core(core, || command.spawn())?;
    let process = Process::of(child, addr)?;
    listening(addr)?;
    Ok(process)
}

fn listening(addr: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = TcpStream::connect(addr) {
        if Instant::now() > deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
