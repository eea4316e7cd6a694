//! Everything the library can do, switched on from the command line. Try it:
//!
//! ```text
//! cargo run --release --example playground -- --framing lines --console 127.0.0.1:7001
//! nc 127.0.0.1 7000      what you type comes back; try !count, !wait 1000, !panic, !bye see you
//! nc 127.0.0.1 7001      the operator's console; try info, list, send 1 hello, crash acceptor 0, drain 5000
//! ```
//!
//! `--help` shows the table of options, `--handler` chooses the door: `echo`, `ping` and `chat` are structs with callbacks,
//! `loop` is a closure pair, `async` an async fn, `actor` an actor of one's own.

// A program: its modules are `pub` to each other only.
#![allow(unreachable_pub)]

mod actor;
mod chat;
mod console;
mod doors;
mod echo;
mod manners;
mod options;
mod packets;
mod ping;
mod reach;
mod security;
mod server;
mod session;
mod signals;
mod url;
mod verbs;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{Connection, Pool, StartError};

use crate::console::Console;
use crate::doors::Setting;
use crate::options::Options;
use crate::server::Server;
use crate::signals::Signals;

/// How long the console may take to deliver its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

#[actix::main]
async fn main() {
    let options = Options::from_command_line();
    log_to_stderr();
    let code = match run(options).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {}", with_sources(&*error));
            let makes_no_sense = |error: &StartError| matches!(error, StartError::InvalidSetting(_));
            match error.downcast_ref() {
                Some(StartError::Several(each)) if each.iter().all(makes_no_sense) => 2,
                Some(error) if makes_no_sense(error) => 2,
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
    let setting = Arc::new(Setting::new(options, security));
    let (pool, reach) = doors::start(&setting).await?;
    let server = Arc::new(Server::new(setting.clone(), pool, reach));
    let console = match &setting.options.console {
        Some(address) => Some(console::open(address, server.clone()).await?),
        None => None,
    };
    announce(&server, console.as_ref());

    let stopped = server.pool.stopped();
    tokio::select! {
        stopped = stopped => stopped?,
        () = signals.next() => tokio::select! {
            _ = server.drain(setting.manners.grace()) => {}
            () = signals.next() => return Err("ended by a second signal".into()),
        },
    }
    say(format_args!("drained {}", server.drain(Duration::ZERO).await));
    if let Some(console) = console {
        console.stop(LAST_ANSWERS).await;
    }
    Ok(())
}

fn announce(server: &Server, console: Option<&Pool<Connection<Console>>>) {
    for url in server.urls() {
        say(format_args!("listening {url}"));
    }
    if let Some(console) = console {
        say(format_args!("console {}", console.local_addrs()[0]));
    }
    say(format_args!("ready"));
}

/// One line on stdout, at once. Nobody may be listening.
fn say(line: std::fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}
