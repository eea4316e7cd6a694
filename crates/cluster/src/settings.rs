//! The settings of a connection to NATS.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;

use crate::ConnectError;

/// How to connect to NATS, as [`ClusterBuilder`](crate::ClusterBuilder) has it.
#[derive(Debug)]
pub(crate) struct NatsSettings {
    /// URLs, separated by commas.
    pub(crate) servers: Secret,
    pub(crate) queue: usize,
    pub(crate) queue_timeout: Duration,
    pub(crate) start_alone: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) server_timeout: Option<Duration>,
    pub(crate) token: Option<Secret>,
    pub(crate) user: Option<(String, Secret)>,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) require_tls: bool,
    pub(crate) replicas: usize,
}

/// A text that [`Debug`](fmt::Debug) does not show.
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// The servers of a list of URLs, without the user and the password that a URL may have.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    pub(crate) addresses: Vec<ServerAddr>,
    pub(crate) user: Option<(String, Secret)>,
}

impl Servers {
    /// For errors and logs.
    pub(crate) fn list(&self) -> String {
        let urls = self.addresses.iter().map(|address| address.as_url_str().trim_end_matches('/'));
        urls.collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn invalid(setting: &'static str, why: impl Into<String>) -> ConnectError {
    ConnectError::InvalidSetting { setting, why: why.into() }
}

/// Checks that a duration is in a range.
pub(crate) fn in_range(
    setting: &'static str,
    value: Duration,
    shortest: Duration,
    longest: Duration,
) -> Result<(), ConnectError> {
    if (shortest..=longest).contains(&value) {
        return Ok(());
    }
    Err(invalid(setting, format!("{value:?}; expected {shortest:?} to {longest:?}")))
}

const HOUR: Duration = Duration::from_secs(3_600);

/// The shortest time limit of all.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

impl NatsSettings {
    pub(crate) fn new(servers: String) -> Self {
        NatsSettings {
            servers: Secret(servers),
            queue: 8 << 20,
            queue_timeout: Duration::from_secs(5),
            start_alone: false,
            connect_timeout: Duration::from_secs(5),
            server_timeout: None,
            token: None,
            user: None,
            credentials: None,
            authorities: Vec::new(),
            certificate: None,
            require_tls: false,
            replicas: 1,
        }
    }

    /// Checks every setting, except the files, which are checked when they are read.
    pub(crate) fn check(&self) -> Result<Servers, ConnectError> {
        if self.queue == 0 {
            return Err(invalid("queue", "0 bytes; expected at least 1"));
        }
        in_range("queue_timeout", self.queue_timeout, SHORTEST, HOUR)?;
        in_range("connect_timeout", self.connect_timeout, SHORTEST, HOUR)?;
        if let Some(limit) = self.server_timeout {
            in_range("server_timeout", limit, Duration::from_millis(100), HOUR)?;
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return Err(invalid("replicas", format!("{}; expected 1, 3 or 5", self.replicas)));
        }
        let servers = servers(&self.servers.0)?;
        let given = [
            ("token", self.token.is_some()),
            ("user", self.user.is_some()),
            ("credentials_file", self.credentials.is_some()),
            ("the user of the URL", servers.user.is_some()),
        ];
        let given: Vec<_> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        if given.len() > 1 {
            let others = given[1..].join(", ");
            return Err(invalid(given[0], format!("given together with {others}; expected one of them")));
        }
        Ok(servers)
    }

    /// How long the server may be silent before the connection counts as lost.
    pub(crate) fn server_timeout(&self, ttl: Duration) -> Duration {
        self.server_timeout.unwrap_or_else(|| (ttl / 2).max(Duration::from_secs(3)))
    }
}

/// Reads a list of URLs, separated by commas.
fn servers(list: &str) -> Result<Servers, ConnectError> {
    let mut servers = Servers::default();
    let expected = "expected URLs such as nats://127.0.0.1:4222, separated by commas";
    for url in list.split(',').map(str::trim) {
        let bad = |why: &str| invalid("server", format!("{:?}: {why}; {expected}", redacted(url)));
        // The error of the parser is about the scheme, the host or the port, and has no user or password.
        let address: ServerAddr = url.parse().map_err(|error: std::io::Error| bad(&error.to_string()))?;
        if !matches!(address.scheme(), "nats" | "tls") {
            return Err(bad("unknown scheme"));
        }
        if address.host().is_empty() {
            return Err(bad("no host"));
        }
        let user = address.username().map(decoded);
        let password = address.password().map(decoded).unwrap_or_default();
        let mut url = address.into_inner();
        // Cannot fail: it has a host.
        let _ = (url.set_username(""), url.set_password(None));
        servers.addresses.push(ServerAddr::from_url(url).map_err(|error| bad(&error.to_string()))?);
        match (user, &servers.user) {
            (Some(user), Some((other, Secret(same)))) if (&user, &password) != (other, same) => {
                return Err(bad("another user or password than in the first URL"));
            }
            (Some(user), _) => servers.user = Some((user, Secret(password))),
            (None, _) => {}
        }
    }
    Ok(servers)
}

/// The URL without the part that may have a password.
fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{separator}..@{host}"),
        // Without a host, the first part is a user, and what should be the port is a password.
        None => match rest.split_once(':').filter(|_| !rest.starts_with('[')) {
            Some((host, port)) if port.trim_end_matches('/').parse::<u16>().is_err() => {
                format!("{scheme}{separator}{host}:..")
            }
            _ => url.to_owned(),
        },
    }
}

/// A part of a URL, in which `%` and two hexadecimal digits stand for a byte.
fn decoded(part: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(part.len()), part.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(list: &str) -> String {
        servers(list).expect_err("an invalid list").to_string()
    }

    #[test]
    fn the_user_of_a_url_is_taken_out_of_it() {
        let servers = servers("nats://ann:p%40ss@a:4222, ann:p%40ss@b").expect("two servers");
        assert_eq!(servers.list(), "nats://a:4222, nats://b");
        assert!(matches!(&servers.user, Some((user, Secret(password))) if user == "ann" && password == "p@ss"));
        assert!(!format!("{servers:?}").contains("p@ss"));
    }

    #[test]
    fn an_invalid_url_is_shown_without_its_password() {
        for url in [
            "http://ann:secret@a",
            "nats://ann:secret@a:port",
            "ann:secret@",
            "nats://ann:secret@",
            "nats://ann:secret",
            "ann:secret/",
            "",
            ",",
            "a,,b",
        ] {
            let why = why(url);
            assert!(!why.contains("secret") && why.starts_with("invalid setting server: \""), "{why}");
        }
        assert!(why("http://ann:secret@a:1").contains("\"http://..@a:1\""));
        assert!(why("nats://ann:secret").contains("\"nats://ann:..\""));
        assert!(why("http://a:1").contains("\"http://a:1\""));
        assert!(why("ann:one@a,bob:two@b").contains("another user"));
    }
}
