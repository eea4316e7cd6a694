//! Nodes of the example `chat`, and their guests.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use support::{eventually_blocking, example, program, TIME_LIMIT};

/// A node as a process; ended with its value.
pub(crate) struct Node {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

/// The example with these arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(example("crates/cluster/examples/chat/main.rs"));
    command.args(arguments).stdin(Stdio::null());
    command
}

impl Node {
    /// A node that has joined the others. `nats` is a URL or `local`.
    pub(crate) fn start(name: &str, nats: &str) -> Node {
        let mut process = command(&["127.0.0.1:0", name, nats, "2"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = output.next().expect("the node listens").unwrap();
        let address = line.strip_prefix(&format!("node {name} listens on ")).unwrap().parse().unwrap();
        Node { process, output, address }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks the process to stop, as an operator does.
    pub(crate) fn terminate(&self) {
        let sent = program("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// The rest of its output, and its status.
    pub(crate) fn end(mut self) -> (Vec<String>, ExitStatus) {
        let lines = self.output.by_ref().map(Result::unwrap).collect();
        (lines, self.process.wait().unwrap())
    }

    /// A connection, after its welcome.
    pub(crate) fn connect(&self) -> Guest {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        let mut guest = Guest(BufReader::new(stream));
        let welcome = guest.line();
        assert!(welcome.starts_with("you are guest-") && welcome.ends_with("/quit"), "{welcome}");
        guest
    }

    /// A guest with this name, in a room of its own.
    pub(crate) fn guest(&self, name: &str) -> Guest {
        let mut guest = self.connect();
        guest.ask(&format!("/join {name}"), &format!("you are in {name}"));
        guest.ask(&format!("/nick {name}"), &format!("you are {name}"));
        guest
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client that sends and reads lines.
pub(crate) struct Guest(BufReader<TcpStream>);

impl Guest {
    pub(crate) fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// The next line that is no news.
    pub(crate) fn answer(&mut self) -> String {
        loop {
            let line = self.line();
            if !line.starts_with("* ") {
                return line;
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.answer(), line);
    }

    /// Reads until this line: guests of other nodes may have joined a room before this one, and the news of that may come late.
    pub(crate) fn skip_to(&mut self, line: &str) {
        while self.line() != line {}
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, answer: &str) {
        self.send(line);
        self.expect(answer);
    }

    /// Repeats a question until this is the answer.
    #[track_caller]
    pub(crate) fn until(&mut self, line: &str, answer: &str) {
        eventually_blocking(|| {
            self.send(line);
            self.answer() == answer
        });
    }

    /// Says something in the room. Returns what the node answers, if there is an answer.
    pub(crate) fn say(&mut self, text: &str) -> Option<String> {
        self.send(text);
        self.send("/help");
        let line = self.answer();
        if line.starts_with("/nick") {
            return None;
        }
        assert!(self.answer().starts_with("/nick"));
        Some(line)
    }

    /// What arrives before the end of the connection.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}
