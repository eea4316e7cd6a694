//! A test server that switches on everything the library can do from the command line. Try it:
//!
//! ```text
//! cargo run --release -p playground -- --framing lines --console 127.0.0.1:7001
//! nc 127.0.0.1 7000      echoes lines; try !count, !wait 1000, !panic, !bye see you
//! nc 127.0.0.1 7000      another connection; try !join room here and !pub room hello there, !name ann and !tell ann hello
//! nc 127.0.0.1 7001      the operator's console; try info, list, send 1 hello, publish room hello, topics, drain 5000
//! ```
//!
//! `--help` lists the options. `--handler` chooses the handler: `echo`, `ping` and `chat` are structs with callbacks,
//! `loop` is a pair of closures, `async` an async fn, `actor` a user-defined actor.

// A binary has no public API: `pub` makes items visible to its other modules.
#![allow(unreachable_pub)]

mod access;
mod actor;
mod blocking;
mod chat;
mod console;
mod echo;
mod handlers;
mod live;
mod messaging;
mod options;
mod packets;
mod ping;
mod security;
mod server;
mod session;
mod sessions;
mod signals;
mod tokens;
mod url;
mod verb;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{Connection, Pool, StartError};

use crate::console::Console;
use crate::handlers::ServerConfig;
use crate::options::Options;
use crate::server::Server;
use crate::signals::Signals;

/// The time limit for the last answers of the console.
const CONSOLE_GRACE: Duration = Duration::from_secs(1);

#[actix::main]
async fn main() {
    let options = Options::from_command_line();
    log_to_stderr();
    let code = match run(options).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {}", with_sources(&*error));
            let is_invalid = |error: &StartError| matches!(error, StartError::InvalidSetting(_));
            match error.downcast_ref() {
                Some(StartError::Several(each)) if each.iter().all(is_invalid) => 2,
                Some(error) if is_invalid(error) => 2,
                _ => 1,
            }
        }
    };
    std::process::exit(code);
}

/// The message of an error, followed by those of its sources.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = Signals::listen()?;
    let security = options.security();
    let config = Arc::new(ServerConfig::new(options, security));
    let (pool, access) = handlers::start(&config).await?;
    let server = Arc::new(Server::new(config.clone(), pool, access));
    let console = match &config.options.console {
        Some(address) => Some(console::open(address, server.clone()).await?),
        None => None,
    };
    print_addresses(&server, console.as_ref());

    let stopped = server.pool.stopped();
    tokio::select! {
        stopped = stopped => stopped?,
        () = signals.next() => tokio::select! {
            _ = server.drain(config.live.grace()) => {}
            () = signals.next() => return Err("ended by a second signal".into()),
        },
    }
    print_line(format_args!("drained {}", server.drain(Duration::ZERO).await));
    if let Some(console) = console {
        console.stop(CONSOLE_GRACE).await;
    }
    Ok(())
}

fn print_addresses(server: &Server, console: Option<&Pool<Connection<Console>>>) {
    for url in server.urls() {
        print_line(format_args!("listening {url}"));
    }
    if let Some(console) = console {
        print_line(format_args!("console {}", console.local_addrs()[0]));
    }
    print_line(format_args!("ready"));
}

/// Prints a line on stdout and flushes it. Ignores a closed stdout.
fn print_line(line: std::fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
