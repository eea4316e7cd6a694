//! The table of options.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use actix_acceptor::{
    limits::{AtLimit, OverRate, PacketRate, Rate, Rule, SlowConsumer},
    Framing, Settings,
};
use bytes::{Bytes, BytesMut};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use tokio_util::codec::Encoder;

use crate::security::{Security, SecurityOptions};
use crate::url::{host_and_port, Url};

/// A test server that switches on everything actix-acceptor can do.
#[derive(Clone, Debug, Parser)]
#[command(name = "playground", allow_negative_numbers = true)]
pub struct Options {
    /// Address to listen on: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or unix:@NAME; port 0 chooses a free port
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:7000")]
    pub listen: Vec<Url>,

    /// What serves the connections
    #[arg(long, value_name = "NAME", value_enum, default_value_t = HandlerName::Echo)]
    pub handler: HandlerName,

    /// How bytes are split into packets: raw, lines, len1, len2, len4 or len8 [default: raw; ping: len2; chat: lines]
    #[arg(long, value_name = "F")]
    framing: Option<Framing>,

    /// Number of acceptors, each on its own arbiter [default: one per core]
    #[arg(long, value_name = "N")]
    pub acceptors: Option<NonZeroUsize>,

    /// How often acceptors may be restarted, in total, before the pool gives up
    #[arg(long, value_name = "N/SECS", default_value = "5/10")]
    pub restarts: RestartLimit,

    /// Highest number of connections [default: 16384, or what the descriptor limit allows]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// What happens to new peers at that limit
    #[arg(long, value_name = "P", value_enum, default_value_t = AtLimitAction::Wait)]
    pub at_limit: AtLimitAction,

    /// Most bytes that others may have queued for a connection [default: 1048576]
    #[arg(long, value_name = "BYTES")]
    pub outbox: Option<NonZeroUsize>,

    /// What happens to a connection for which more is queued
    #[arg(long, value_name = "P", value_enum, default_value_t = SlowConsumerAction::Close)]
    pub slow_consumer: SlowConsumerAction,

    /// Highest number of blocking jobs that run at the same time [default: 64]
    #[arg(long, value_name = "N")]
    pub max_blocking: Option<NonZeroUsize>,

    /// Highest rate of packets of a connection, which is read more slowly above it [default: no limit]
    #[arg(long, value_name = "N/SECS")]
    pub packet_rate: Option<Rate>,

    /// Highest number of connections per peer address [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_per_ip: Option<NonZeroUsize>,

    /// Highest rate of new connections over all listeners [default: no limit]
    #[arg(long, value_name = "N/SECS")]
    pub accept_rate: Option<Rate>,

    /// Addresses that may connect; of all --allow and --deny rules the first match decides
    #[arg(long, value_name = "CIDR", value_parser = Rule::allow)]
    allow: Vec<Rule>,

    /// Addresses that may not connect
    #[arg(long, value_name = "CIDR", value_parser = Rule::deny)]
    deny: Vec<Rule>,

    /// The allow and deny rules in the order given
    #[arg(skip)]
    pub rules: Vec<Rule>,

    /// Longest packet accepted, without prefix or delimiter; raw splits there
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    pub max_frame: NonZeroUsize,

    /// How long a peer may be silent; for this and the other time limits 0 means no limit [default: 60000]
    #[arg(long, value_name = "MS")]
    pub idle_timeout: Option<u64>,

    /// How long a packet may take from its first byte to its last [default: 10000]
    #[arg(long, value_name = "MS")]
    pub packet_timeout: Option<u64>,

    /// How long the PROXY header and the TLS handshake may take together [default: 5000]
    #[arg(long, value_name = "MS")]
    pub handshake_timeout: Option<u64>,

    /// How long sending may stall [default: 30000]
    #[arg(long, value_name = "MS")]
    pub send_timeout: Option<u64>,

    /// Longest lifetime of a connection [default: no limit]
    #[arg(long, value_name = "MS")]
    pub max_age: Option<u64>,

    /// What to do with an incomplete packet at its timeout: stop, or echo the bytes received so far and continue
    #[arg(long, value_name = "A", value_enum, default_value_t = OnPacketTimeout::Stop)]
    pub on_packet_timeout: OnPacketTimeout,

    /// Unsent bytes above which a connection reads no more input [default: 65536]
    #[arg(long, value_name = "BYTES")]
    pub high_watermark: Option<usize>,

    /// Keep serving a peer that has shut down its sending side
    #[arg(long)]
    pub half_close: bool,

    /// Text sent as one packet when a connection is ready
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub greeting: Option<String>,

    /// Text sent as one packet to each connection when the pool shuts down
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub goodbye: Option<String>,

    /// On shutdown keep echoing until the grace period ends
    #[arg(long)]
    pub linger: bool,

    /// Grace period of a drain
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub grace: u64,

    #[command(flatten)]
    security: SecurityOptions,

    /// Address of the operator's console
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub console: Option<String>,
}

impl Options {
    /// Parses the command line. An invalid option ends the process with exit code 2.
    pub fn from_command_line() -> Self {
        let options = Self::parse_args(std::env::args_os()).unwrap_or_else(|error| error.exit());
        for (name, text) in [("greeting", &options.greeting), ("goodbye", &options.goodbye)] {
            if let Some(Err(error)) = text.as_ref().map(|text| options.check_packet(text)) {
                exit_with_usage_error(format!("--{name}: {error}"));
            }
        }
        options
    }

    fn parse_args<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let mut options = Self::from_arg_matches(&matches)?;
        let at = |name| matches.indices_of(name).into_iter().flatten();
        let mut rules: Vec<_> = at("allow").zip(&options.allow).chain(at("deny").zip(&options.deny)).collect();
        rules.sort_by_key(|(at, _)| *at);
        options.rules = rules.into_iter().map(|(_, rule)| *rule).collect();
        Ok(options)
    }

    /// Loads the certificates and the trusted proxies. An error ends the process with exit code 2.
    pub fn security(&self) -> Security {
        Security::new(&self.security, &self.listen).unwrap_or_else(|error| exit_with_usage_error(error))
    }

    /// The settings of the pool.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let or = |limit: Option<u64>, default| limit.map_or(default, millis);
        settings.acceptors = self.acceptors.map(NonZeroUsize::get);
        (settings.max_restarts, settings.restart_window) = (self.restarts.limit, self.restarts.within);
        settings.grace = Some(Duration::from_millis(self.grace));
        settings.max_connections = self.max_connections.map_or(settings.max_connections, NonZeroUsize::get);
        settings.at_limit = match self.at_limit {
            AtLimitAction::Wait => AtLimit::Wait,
            AtLimitAction::Close => AtLimit::Close,
            AtLimitAction::Reset => AtLimit::Reset,
        };
        settings.outbox = self.outbox.map_or(settings.outbox, NonZeroUsize::get);
        settings.slow_consumer = match self.slow_consumer {
            SlowConsumerAction::Close => SlowConsumer::Close,
            SlowConsumerAction::Drop => SlowConsumer::DropNewest,
        };
        settings.max_blocking = self.max_blocking.map_or(settings.max_blocking, NonZeroUsize::get);
        settings.max_per_peer = self.max_per_ip.map(NonZeroUsize::get);
        settings.accept_rate = self.accept_rate;
        settings.packet_rate = self.packet_rate.map(|rate| PacketRate::new(rate.burst, rate.per, OverRate::Slow));
        settings.rules = self.rules.clone();
        settings.idle_timeout = or(self.idle_timeout, settings.idle_timeout);
        settings.packet_timeout = or(self.packet_timeout, settings.packet_timeout);
        settings.handshake_timeout = or(self.handshake_timeout, settings.handshake_timeout);
        settings.send_timeout = or(self.send_timeout, settings.send_timeout);
        settings.max_age = or(self.max_age, settings.max_age);
        if let Some(high) = self.high_watermark {
            (settings.high_watermark, settings.low_watermark) = (high, high / 4);
        }
        settings.half_close = self.half_close;
        settings
    }

    /// A copy with one option changed. The name is that of the command line, without dashes.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, String> {
        let mut options = self.clone();
        let text = || self.check_packet(value).map(|()| Some(value.to_owned()).filter(|text| !text.is_empty()));
        let parsed = || {
            let words = ["playground".to_owned(), format!("--{name}"), value.to_owned()];
            Self::parse_args(words).map_err(|error| brief(&error))
        };
        match name {
            "greeting" => options.greeting = text()?,
            "goodbye" => options.goodbye = text()?,
            "linger" => options.linger = switch(value)?,
            "half-close" => options.half_close = switch(value)?,
            "on-packet-timeout" => options.on_packet_timeout = parsed()?.on_packet_timeout,
            "grace" => options.grace = parsed()?.grace,
            "acceptors" => options.acceptors = parsed()?.acceptors,
            "restarts" => options.restarts = parsed()?.restarts,
            "max-connections" => options.max_connections = parsed()?.max_connections,
            "at-limit" => options.at_limit = parsed()?.at_limit,
            "outbox" => options.outbox = parsed()?.outbox,
            "slow-consumer" => options.slow_consumer = parsed()?.slow_consumer,
            "max-blocking" => options.max_blocking = parsed()?.max_blocking,
            "max-per-ip" => options.max_per_ip = parsed()?.max_per_ip,
            "accept-rate" => options.accept_rate = parsed()?.accept_rate,
            "packet-rate" => options.packet_rate = parsed()?.packet_rate,
            "allow" | "deny" => options.rules.splice(..0, parsed()?.rules).for_each(drop),
            "max-frame" => options.max_frame = parsed()?.max_frame,
            "idle-timeout" => options.idle_timeout = parsed()?.idle_timeout,
            "packet-timeout" => options.packet_timeout = parsed()?.packet_timeout,
            "handshake-timeout" => options.handshake_timeout = parsed()?.handshake_timeout,
            "send-timeout" => options.send_timeout = parsed()?.send_timeout,
            "max-age" => options.max_age = parsed()?.max_age,
            "high-watermark" => options.high_watermark = parsed()?.high_watermark,
            "listen" => options.listen = parsed()?.listen,
            _ if Self::exists(name) => return Err(format!("{name} cannot be changed live")),
            _ => return Err(format!("unknown option {name}")),
        }
        Ok(options)
    }

    /// Whether an option of this name exists.
    fn exists(name: &str) -> bool {
        Self::command().get_arguments().any(|option| option.get_long() == Some(name))
    }

    pub fn framing(&self) -> Framing {
        let default = || match self.handler {
            HandlerName::Ping => Framing::len2(),
            HandlerName::Chat => Framing::lines(),
            _ => Framing::raw(),
        };
        self.framing.clone().unwrap_or_else(default).with_max_frame(self.max_frame.get())
    }

    /// Checks that a text can be sent as one packet.
    pub fn check_packet(&self, text: &str) -> Result<(), String> {
        let packet = Bytes::copy_from_slice(text.as_bytes());
        self.framing().encode(packet, &mut BytesMut::new()).map_err(|error| error.to_string())
    }
}

/// Prints a usage error and ends the process with exit code 2.
pub fn exit_with_usage_error(why: impl std::fmt::Display) -> ! {
    Options::command().error(ErrorKind::ValueValidation, why).exit()
}

/// A time limit in milliseconds. 0 means no limit.
pub fn millis(limit: u64) -> Option<Duration> {
    Some(Duration::from_millis(limit)).filter(|limit| !limit.is_zero())
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("expected on or off".into()),
    }
}

/// The first line of an error message of clap.
fn brief(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// What serves the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HandlerName {
    /// Echo with a struct of callbacks
    Echo,
    /// The example of condor's overview
    Ping,
    /// Sends each line to all others
    Chat,
    /// Echo with a pair of closures
    Loop,
    /// Echo with an async fn
    Async,
    /// Echo with a user-defined actor
    Actor,
}

/// What happens to new peers at the connection limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AtLimitAction {
    /// They wait in the accept queue of the kernel
    Wait,
    /// They are closed
    Close,
    /// They are reset
    Reset,
}

/// What happens to a connection whose outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SlowConsumerAction {
    /// It is closed at once
    Close,
    /// New packets for it are left out
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnPacketTimeout {
    Stop,
    Echo,
}

/// A number of restarts within a time window.
#[derive(Clone, Copy, Debug)]
pub struct RestartLimit {
    pub limit: usize,
    pub within: Duration,
}

impl FromStr for RestartLimit {
    type Err = String;

    fn from_str(budget: &str) -> Result<Self, String> {
        let parsed = budget.split_once('/').and_then(|(limit, secs)| {
            let secs: NonZeroUsize = secs.parse().ok()?;
            Some(RestartLimit { limit: limit.parse().ok()?, within: Duration::from_secs(secs.get() as u64) })
        });
        parsed.ok_or_else(|| "expected N/SECS, for example 5/10".into())
    }
}
