//! The table of options.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use actix_acceptor::{
    limits::{AtLimit, Rate, Rule},
    Framing, Settings,
};
use bytes::{Bytes, BytesMut};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use tokio_util::codec::Encoder;

use crate::chat::Hub;
use crate::security::{Security, SecurityOptions};
use crate::url::{host_and_port, Url};

/// Everything the library can do, switched on from the command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "playground", allow_negative_numbers = true)]
pub struct Options {
    /// Where to listen: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH or unix:@NAME; port 0 lets the system choose one
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:7000")]
    pub listen: Vec<Url>,

    /// Who serves the connections
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Served::Echo)]
    pub handler: Served,

    /// How bytes become packets: raw, lines, len1, len2, len4 or len8 [default: raw; ping: len2; chat: lines]
    #[arg(long, value_name = "F")]
    framing: Option<Framing>,

    /// Acceptors, each on its own arbiter [default: one per core]
    #[arg(long, value_name = "N")]
    pub acceptors: Option<NonZeroUsize>,

    /// How often acceptors, all together, may be restarted before the pool gives up
    #[arg(long, value_name = "N/SECS", default_value = "5/10")]
    pub restarts: Budget,

    /// How many connections there may be [default: 16384, or what the descriptors leave room for]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// What happens to peers while there are so many
    #[arg(long, value_name = "P", value_enum, default_value_t = Full::Wait)]
    pub at_limit: Full,

    /// How many connections one address may have [default: as many as there is room for]
    #[arg(long, value_name = "N")]
    pub max_per_ip: Option<NonZeroUsize>,

    /// How fast connections may come, all together [default: as fast as they like]
    #[arg(long, value_name = "N/SECS")]
    pub accept_rate: Option<Rate>,

    /// Who may connect: of these and --deny the first about an address decides
    #[arg(long, value_name = "CIDR", value_parser = Rule::allow)]
    allow: Vec<Rule>,

    /// Who may not connect
    #[arg(long, value_name = "CIDR", value_parser = Rule::deny)]
    deny: Vec<Rule>,

    /// Both, in the order given
    #[arg(skip)]
    pub rules: Vec<Rule>,

    /// The longest packet taken in, without prefix or delimiter; raw cuts there
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    pub max_frame: NonZeroUsize,

    /// How long a peer may be silent; this and the other time limits: 0 = never [default: 60000]
    #[arg(long, value_name = "MS")]
    pub idle_timeout: Option<u64>,

    /// How long a packet may take from its first byte to its last [default: 10000]
    #[arg(long, value_name = "MS")]
    pub packet_timeout: Option<u64>,

    /// How long PROXY header and TLS handshake may take, together [default: 5000]
    #[arg(long, value_name = "MS")]
    pub handshake_timeout: Option<u64>,

    /// How long a peer may take nothing of what is sent [default: 30000]
    #[arg(long, value_name = "MS")]
    pub send_timeout: Option<u64>,

    /// How long a connection may live [default: for ever]
    #[arg(long, value_name = "MS")]
    pub max_age: Option<u64>,

    /// When a packet is not finished in time: stop, or echo what has come and go on
    #[arg(long, value_name = "A", value_enum, default_value_t = OnPacketTimeout::Stop)]
    pub on_packet_timeout: OnPacketTimeout,

    /// Unsent bytes above which a connection takes nothing more in [default: 65536]
    #[arg(long, value_name = "BYTES")]
    pub high_watermark: Option<usize>,

    /// Keep serving a peer that has shut its sending side
    #[arg(long)]
    pub half_close: bool,

    /// Sent as one packet when a connection is ready
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub greeting: Option<String>,

    /// Sent as one packet when the pool tells a connection that it is shutting down
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub goodbye: Option<String>,

    /// On shutdown do not stop by oneself: go on echoing until the grace is over
    #[arg(long)]
    pub linger: bool,

    /// How long a drain may take
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub grace: u64,

    #[command(flatten)]
    security: SecurityOptions,

    /// Where the operator's console listens
    #[arg(long, value_name = "ADDR", value_parser = host_and_port)]
    pub console: Option<String>,
}

impl Options {
    /// What the command line says; anything wrong with it ends the process with exit code 2.
    pub fn from_command_line() -> Self {
        let options = Self::parse_from_words(std::env::args_os()).unwrap_or_else(|error| error.exit());
        for (name, text) in [("greeting", &options.greeting), ("goodbye", &options.goodbye)] {
            if let Some(Err(why)) = text.as_ref().map(|text| options.fits(text)) {
                refuse(format!("--{name}: {why}"));
            }
        }
        options
    }

    fn parse_from_words<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let mut options = Self::from_arg_matches(&matches)?;
        let at = |name| matches.indices_of(name).into_iter().flatten();
        let mut rules: Vec<_> = at("allow").zip(&options.allow).chain(at("deny").zip(&options.deny)).collect();
        rules.sort_by_key(|(at, _)| *at);
        options.rules = rules.into_iter().map(|(_, rule)| *rule).collect();
        Ok(options)
    }

    /// Certificates, and who is believed; anything wrong with them ends the process with exit code 2.
    pub fn security(&self) -> Security {
        Security::new(&self.security, &self.listen).unwrap_or_else(|why| refuse(why))
    }

    /// What the library is to go by.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let or = |limit: Option<u64>, default| limit.map_or(default, millis);
        settings.acceptors = self.acceptors.map(NonZeroUsize::get);
        (settings.max_restarts, settings.restart_window) = (self.restarts.limit, self.restarts.within);
        settings.grace = Some(Duration::from_millis(self.grace));
        settings.max_connections = self.max_connections.map_or(settings.max_connections, NonZeroUsize::get);
        settings.at_limit = match self.at_limit {
            Full::Wait => AtLimit::Wait,
            Full::Close => AtLimit::Close,
            Full::Reset => AtLimit::Reset,
        };
        settings.max_per_peer = self.max_per_ip.map(NonZeroUsize::get);
        settings.accept_rate = self.accept_rate;
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
        if self.handler == Served::Chat {
            // A chat waits for its hub: by itself, a half-close would not let it.
            (settings.half_close, settings.mailbox_capacity) = (true, Hub::BACKLOG);
        }
        settings
    }

    /// The same options with one of them changed, given as on the command line but without dashes.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, String> {
        let mut options = self.clone();
        let text = || self.fits(value).map(|()| Some(value.to_owned()).filter(|text| !text.is_empty()));
        let parsed = || {
            let words = ["playground".to_owned(), format!("--{name}"), value.to_owned()];
            Self::parse_from_words(words).map_err(|error| brief(&error))
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
            "max-per-ip" => options.max_per_ip = parsed()?.max_per_ip,
            "accept-rate" => options.accept_rate = parsed()?.accept_rate,
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
            _ => return Err(format!("there is no option {name}")),
        }
        Ok(options)
    }

    /// Whether there is an option of this name in the table.
    fn exists(name: &str) -> bool {
        Self::command().get_arguments().any(|option| option.get_long() == Some(name))
    }

    pub fn framing(&self) -> Framing {
        let default = || match self.handler {
            Served::Ping => Framing::len2(),
            Served::Chat => Framing::lines(),
            _ => Framing::raw(),
        };
        self.framing.clone().unwrap_or_else(default).with_max_frame(self.max_frame.get())
    }

    /// Whether a text can be sent as one packet.
    pub fn fits(&self, text: &str) -> Result<(), String> {
        let packet = Bytes::copy_from_slice(text.as_bytes());
        self.framing().encode(packet, &mut BytesMut::new()).map_err(|error| error.to_string())
    }
}

/// Ends the process: an option makes no sense.
pub fn refuse(why: impl std::fmt::Display) -> ! {
    Options::command().error(ErrorKind::ValueValidation, why).exit()
}

/// A time limit as the command line gives it: 0 is "never".
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

/// The first line of what clap has to say.
fn brief(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Who serves the connections: a behaviour and a door of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Served {
    /// Echo by a struct with callbacks
    Echo,
    /// Condor's overview
    Ping,
    /// Lines to all others
    Chat,
    /// Echo by the closure pair
    Loop,
    /// Echo by an async fn
    Async,
    /// Echo by an actor of one's own
    Actor,
}

/// What happens to peers while there are as many connections as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Full {
    /// They wait in the kernel's queue
    Wait,
    /// They are closed
    Close,
    /// They are reset
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnPacketTimeout {
    Stop,
    Echo,
}

/// So many within so long.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub limit: usize,
    pub within: Duration,
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(budget: &str) -> Result<Self, String> {
        let parsed = budget.split_once('/').and_then(|(limit, secs)| {
            let secs: NonZeroUsize = secs.parse().ok()?;
            Some(Budget { limit: limit.parse().ok()?, within: Duration::from_secs(secs.get() as u64) })
        });
        parsed.ok_or_else(|| "expected N/SECS, for example 5/10".into())
    }
}
