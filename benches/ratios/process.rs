//! A server in a process of its own, and what that process has used so far.

use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::peer::Place;
use crate::servers::Server;
use crate::tls;

/// The kernel gives a server's CPU and memory away to its parent, so the server itself is never asked, and the
/// asking costs it nothing. It ends when its standard input does; dropping kills it.
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    place: Place,
}

impl Process {
    /// Starts this binary again as that server, on that core if there is a choice.
    pub(crate) fn start(server: Server, core: Option<usize>) -> io::Result<Self> {
        Self::start_under(Command::new(std::env::current_exe()?), server, core)
    }

    /// The same, where `command` already names this binary, perhaps behind a tool that watches it.
    pub(crate) fn start_under(mut command: Command, server: Server, core: Option<usize>) -> io::Result<Self> {
        let mut child = command
            .args(["server", server.name()])
            .args(core.map(|core| core.to_string()))
            .envs(tls::environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        let mut process = Self {
            pid: Pid::from_raw(child.id().try_into().map_err(io::Error::other)?),
            child,
            place: Place { addr: (Ipv4Addr::LOCALHOST, 0).into(), tls: server.is_secure() },
        };
        let mut port = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut port)?;
        }
        let told = port.trim().parse();
        let port = told.map_err(|_| io::Error::other("the server ended before it told its port"))?;
        process.place.addr.set_port(port);
        Ok(process)
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// CPU used so far, in user space and in the kernel.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        Ok(ClockId::pid_cpu_clock_id(self.pid)?.now()?.into())
    }

    /// The same once the server has come to rest: the last replies are out before their sender is done.
    pub(crate) fn settled_cpu(&self) -> io::Result<Duration> {
        settled(|| self.cpu(), |cpu, earlier| cpu.saturating_sub(earlier) < Duration::from_micros(50))
    }

    /// Bytes of memory that are resident, once they no longer change.
    pub(crate) fn settled_resident(&self) -> io::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        let now = || {
            let rollup = std::fs::read_to_string(&path)?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            let kib = kib.ok_or_else(|| io::Error::other(format!("no Rss in {path}")))?;
            Ok(kib * 1024)
        };
        settled(now, |bytes, earlier| bytes == earlier)
    }

    /// Ends the server by closing its standard input, and waits until it is gone.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::other("the server did not end"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until two readings, 3 ms apart, are `still`; after one second whatever it is then.
fn settled<T: Copy>(read: impl Fn() -> io::Result<T>, still: impl Fn(T, T) -> bool) -> io::Result<T> {
    let mut earlier = read()?;
    for _ in 0..300 {
        sleep(Duration::from_millis(3));
        let now = read()?;
        if still(now, earlier) {
            return Ok(now);
        }
        earlier = now;
    }
    Ok(earlier)
}

/// A core for the server and another for the load, where this process may use two.
pub(crate) fn cores() -> Option<(usize, usize)> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
    let server = cores.next()?;
    Some((server, cores.next()?))
}

/// Keeps this thread, and those it starts from now on, on one core. Where the system forbids it, nothing happens.
pub(crate) fn pin(core: Option<usize>) {
    let mut set = CpuSet::new();
    if core.is_some_and(|core| set.set(core).is_ok()) {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Raises the limit of open descriptors as far as it goes, for the servers too, which inherit it. Returns it.
pub(crate) fn raise_descriptors() -> io::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX))
}
