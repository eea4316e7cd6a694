//! A server in a separate process, and the CPU and memory that the process has used.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::peer::Place;
use crate::servers::Server;
use crate::tls;

/// CPU and memory are read from the kernel, so measuring costs the server nothing. The server ends when its standard
/// input ends. Dropping this value kills it.
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    place: Place,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this binary as that server, on that core if one is given.
    pub(crate) fn start(server: Server, core: Option<usize>) -> io::Result<Self> {
        Self::start_under(Command::new(std::env::current_exe()?), server, core)
    }

    /// The same with a command that already names this binary, for example as an argument of valgrind.
    pub(crate) fn start_under(mut command: Command, server: Server, core: Option<usize>) -> io::Result<Self> {
        let mut child = command
            .args(["server", server.name()])
            .args(core.map(|core| core.to_string()))
            .envs(tls::environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().map(BufReader::new);
        let mut process = Self {
            pid: Pid::from_raw(child.id().try_into().map_err(io::Error::other)?),
            child,
            place: Place { addr: (Ipv4Addr::LOCALHOST, 0).into(), tls: server.is_secure() },
            stdout,
        };
        let port = process.line()?;
        let port = port.trim().parse().map_err(|_| io::Error::other("the server ended before it printed its port"))?;
        process.place.addr.set_port(port);
        Ok(process)
    }

    /// Sends a line to the server's standard input and returns the answer.
    pub(crate) fn ask(&mut self, line: &str) -> io::Result<String> {
        if let Some(stdin) = &mut self.child.stdin {
            writeln!(stdin, "{line}")?;
        }
        self.line()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_line(&mut line)?;
        }
        Ok(line)
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// CPU time used since the start, in user space and in the kernel.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        Ok(ClockId::pid_cpu_clock_id(self.pid)?.now()?.into())
    }

    /// The same once the server is idle: it still works for a moment after its last reply has been sent.
    pub(crate) fn settled_cpu(&self) -> io::Result<Duration> {
        settled(|| self.cpu(), |cpu, earlier| cpu.saturating_sub(earlier) < Duration::from_micros(50))
    }

    /// Resident memory in bytes, once it no longer changes.
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

    /// Ends the server by closing its standard input and waits for its end.
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
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until two readings, 3 ms apart, satisfy `is_settled`. Returns the last reading after one second.
fn settled<T: Copy>(read: impl Fn() -> io::Result<T>, is_settled: impl Fn(T, T) -> bool) -> io::Result<T> {
    let mut earlier = read()?;
    for _ in 0..300 {
        sleep(Duration::from_millis(3));
        let now = read()?;
        if is_settled(now, earlier) {
            return Ok(now);
        }
        earlier = now;
    }
    Ok(earlier)
}

/// A core for the server and another one for the load. `None` if this process may use only one.
pub(crate) fn cores() -> Option<(usize, usize)> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
    let server = cores.next()?;
    Some((server, cores.next()?))
}

/// Pins this thread, and the threads it starts later, to one core. Has no effect if the system forbids it.
pub(crate) fn pin(core: Option<usize>) {
    let mut set = CpuSet::new();
    if core.is_some_and(|core| set.set(core).is_ok()) {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Lets this thread, and the threads it starts later, run on every core again.
pub(crate) fn unpin() {
    let mut set = CpuSet::new();
    (0..CpuSet::count()).for_each(|core| set.set(core).unwrap_or(()));
    let _ = sched_setaffinity(Pid::from_raw(0), &set);
}

/// Raises the descriptor limit to the hard limit and returns it. The servers inherit it.
pub(crate) fn raise_descriptors() -> io::Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard).unwrap_or(usize::MAX))
}
