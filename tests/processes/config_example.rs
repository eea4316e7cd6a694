//! The example `config`: SIGHUP makes it read its file again.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{kill_process, Pid, Signal};
use support::*;

/// The example as a process; ended with its value.
struct Example {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Example {
    fn start(file: &std::path::Path) -> Example {
        // target/PROFILE/deps/processes-HASH: the examples are built beside it.
        let here = std::env::current_exe().unwrap();
        let program = here.parent().unwrap().with_file_name("examples").join("config");
        let mut command = Command::new(&program);
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}; build the examples"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Example { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sighup_reloads_the_config_example() {
    let folder = Folder::create();
    let file = folder.path("echo.toml");
    let write = |port: u16, settings: &str, drain: &str| {
        let text = format!(
            "settings = {{ max_connections = {settings} }}\nlisteners = [{{ address = 'tcp://127.0.0.1:{port}' }}]\n\
             drain.grace = '{drain}'\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(0, "10", "never");
    let mut example = Example::start(&file);
    let first = example.line();
    let address = first.strip_prefix("listening on ").unwrap().split(',').next().unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let mut peer = BlockingPeer::connect(address);
    peer.echo("hello\n");

    write(address.port(), "20", "never");
    example.signal(Signal::HUP);
    assert_eq!(example.line(), "reloaded: max_connections: 10 -> 20");
    write(address.port(), "0", "0s");
    example.signal(Signal::HUP);
    let refused = example.line();
    assert!(refused.starts_with(&format!("not reloaded: {}: settings.max_connections: ", file.display())), "{refused}");
    peer.echo("still there\n");

    write(address.port(), "20", "0s");
    example.signal(Signal::HUP);
    assert_eq!(example.line(), "reloaded: drain: grace never, delay 0s -> grace 0s, delay 0s");
    example.signal(Signal::TERM);
    assert!(example.child.wait().unwrap().success());
}
