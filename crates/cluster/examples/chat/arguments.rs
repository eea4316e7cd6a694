//! The arguments of the command line.

use std::time::Duration;

use actix_acceptor::BoxError;

const USAGE: &str = "\
usage: chat [ADDRESS [NODE [NATS [TTL]]]]
  ADDRESS  where guests connect (127.0.0.1:7878)
  NODE     the name of this node, different on each (a)
  NATS     the URL of the server, or `local`: this node alone, without a server (nats://127.0.0.1:4222)
  TTL      after this number of seconds the names of a killed node are free, the same on each node (15)";

pub(crate) struct Arguments {
    pub(crate) address: String,
    pub(crate) node: String,
    /// `None` for a node without a server.
    pub(crate) nats: Option<String>,
    pub(crate) ttl: Duration,
}

impl Arguments {
    /// Those of this process.
    pub(crate) fn parse() -> Result<Self, BoxError> {
        let given: Vec<String> = std::env::args().skip(1).collect();
        if given.len() > 4 || given.iter().any(|argument| argument.starts_with('-')) {
            return Err(USAGE.into());
        }
        let argument = |at: usize, default: &str| given.get(at).map_or(default, |given| given).to_owned();
        let nats = Some(argument(2, "nats://127.0.0.1:4222")).filter(|nats| nats != "local");
        let ttl = argument(3, "15");
        let ttl = ttl
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| format!("TTL: invalid number of seconds {ttl:?}\n{USAGE}"))?;
        Ok(Arguments { address: argument(0, "127.0.0.1:7878"), node: argument(1, "a"), nats, ttl })
    }
}
