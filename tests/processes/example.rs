//! The examples as processes.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{kill_process, Pid, Signal};

/// An example as a process; ended with its value.
pub(crate) struct Example {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Example {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Example {
        let program = program_of(name);
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}; build the examples"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Example { child, lines }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The address that it prints first.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.line();
        let address = line.strip_prefix("listening on ").unwrap().split(',').next().unwrap();
        address.parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

/// target/PROFILE/deps/processes-HASH is this process: the examples are built beside it.
pub(crate) fn program_of(name: &str) -> PathBuf {
    if name == "chat" {
        // `crates/cluster` has an example of this name as well.
        return support::example("examples/chat.rs");
    }
    let here = std::env::current_exe().unwrap();
    here.parent().unwrap().with_file_name("examples").join(name)
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
