//! A server in a separate process, and the CPU and memory that the process has used.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::peer::Place;
use crate::servers::Server;
use crate::{brokers, tls};

/// CPU and memory are read from the kernel, so measuring costs the server nothing. The server ends when its standard
/// input ends. Dropping this value kills it.
pub(crate) struct Process {
    child: Child,
    clock: Clock,
    place: Place,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this binary as that server, on that core if one is given.
    pub(crate) fn start(server: Server, core: Option<usize>) -> io::Result<Self> {
        match server {
            Server::Redis => brokers::redis(core),
            Server::Pubsub => brokers::pubsub(core),
            _ => Self::start_under(Command::new(std::env::current_exe()?), server, core),
        }
    }

    /// The same with a command that already names this binary, for example as an argument of valgrind.
    pub(crate) fn start_under(mut command: Command, server: Server, core: Option<usize>) -> io::Result<Self> {
        let child = command
            .args(["server", server.name()])
            .args(core.map(|core| core.to_string()))
            .envs(tls::environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut process = Self::of(child, (Ipv4Addr::LOCALHOST, 0).into())?;
        process.place.tls = server.is_secure();
        process.read_port()?;
        Ok(process)
    }

    /// A program that serves plaintext at that address, or is part of the load of a server there.
    pub(crate) fn of(mut child: Child, addr: SocketAddr) -> io::Result<Self> {
        let clock = Clock::of(child.id())?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { child, clock, place: Place { addr, tls: false }, stdout })
    }

    /// Reads the first line of its output, which ends with the port.
    pub(crate) fn read_port(&mut self) -> io::Result<()> {
        let line = self.line()?;
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        let port = port.ok_or_else(|| io::Error::other("the server ended before it printed its port"))?;
        self.place.addr.set_port(port);
        Ok(())
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

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Resident memory in bytes, once it no longer changes.
    pub(crate) fn settled_resident(&self) -> io::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.clock.0);
        let now = || {
            let rollup = std::fs::read_to_string(&path)?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            let kib = kib.ok_or_else(|| io::Error::other(format!("no Rss in {path}")))?;
            Ok(kib * 1024)
        };
        settled(now, |bytes, earlier| bytes == earlier)
    }

    /// The CPU time of each of its threads, by its id.
    pub(crate) fn threads(&self) -> io::Result<HashMap<OsString, Duration>> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.clock.0))?;
        let tasks = tasks.map(|task| {
            let task = task?;
            Ok((task.file_name(), scheduled(&task.path(), 0)?))
        });
        tasks.collect()
    }

    /// How long its threads waited for a core that others had, since the start.
    pub(crate) fn waits_for_core(&self) -> io::Result<Duration> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.clock.0))?;
        tasks.map(|task| scheduled(&task?.path(), 1)).sum()
    }

    /// The wake-ups of all event loops of the process so far. An event loop of tokio is woken from another thread by a
    /// write of 1 to its eventfd, whose count it never resets.
    pub(crate) fn wakes(&self) -> io::Result<u64> {
        let mut wakes = 0;
        for entry in std::fs::read_dir(format!("/proc/{}/fdinfo", self.clock.0))? {
            let info = std::fs::read_to_string(entry?.path())?;
            let count = info.lines().find_map(|line| line.strip_prefix("eventfd-count:"));
            wakes += count.map_or(Ok(0), |count| u64::from_str_radix(count.trim(), 16)).map_err(io::Error::other)?;
        }
        Ok(wakes)
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

impl Process {
    /// Kills it and waits for its end.
    pub(crate) fn kill(&mut self) {
        // Both fail only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The CPU clock of a process. The number is its id.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Pid);

impl Clock {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        pid.try_into().map(|pid| Self(Pid::from_raw(pid))).map_err(io::Error::other)
    }

    pub(crate) fn pid(self) -> String {
        self.0.to_string()
    }

    /// CPU time used since the start, in user space and in the kernel.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        Ok(ClockId::pid_cpu_clock_id(self.0)?.now()?.into())
    }

    /// The same once the server is idle: it still works for a moment after its last reply has been sent.
    pub(crate) fn settled(self) -> io::Result<Duration> {
        settled(|| self.cpu(), |cpu, earlier| cpu.saturating_sub(earlier) < Duration::from_micros(50))
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

/// A figure of a thread's `schedstat`, in nanoseconds: how long it ran, and how long it waited for a core that others had.
fn scheduled(task: &Path, figure: usize) -> io::Result<Duration> {
    let figures = std::fs::read_to_string(task.join("schedstat"))?;
    let time = figures.split_whitespace().nth(figure).and_then(|figure| figure.parse().ok());
    time.map(Duration::from_nanos).ok_or_else(|| io::Error::other("no figures of the scheduler"))
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

/// Runs `start` on that core, which a process that it starts keeps. This thread then goes back to the cores it had.
pub(crate) fn on_core<T>(core: Option<usize>, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    pin(core);
    let started = start();
    sched_setaffinity(Pid::from_raw(0), &before)?;
    started
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
