//! Sockets that systemd, or another program with the same protocol, has opened for this one.

use std::io;

use parking_lot::Mutex;

use super::{Inherited, Listener};

/// The error of [`Listener::from_systemd_named`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemdError {
    /// No socket with this name was passed.
    #[error("no socket named {name:?} was passed; {}", list(.available))]
    NotFound {
        /// The requested name.
        name: String,
        /// The names of the sockets that were passed. Empty if none has a name, for example if the program was not started by
        /// socket activation.
        available: Vec<String>,
    },
    /// A socket that was passed is neither a TCP nor a Unix stream socket, or cannot be duplicated.
    #[error("cannot use the sockets that were passed")]
    Socket(#[from] io::Error),
}

fn list(available: &[String]) -> String {
    match available {
        [] => "no socket with a name was passed".to_owned(),
        names => format!("available: {}", names.join(", ")),
    }
}

/// A socket that was passed. It stays open until the process ends; systemd keeps its own descriptor open as well.
struct Activated {
    name: Option<String>,
    socket: Inherited,
    /// Whether it has been used.
    is_taken: bool,
}

/// The sockets, once they have been read from the environment.
static ACTIVATED: Mutex<Option<Vec<Activated>>> = Mutex::new(None);

impl Listener {
    /// Returns the sockets that systemd opened for this program, each with its name (`FileDescriptorName=`).
    ///
    /// The first call returns all of them except those that [`from_systemd_named`](Listener::from_systemd_named) has returned;
    /// later calls return none. The list is empty if the program was not started by socket activation. Feature `listenfd`.
    ///
    /// # Errors
    /// One of the sockets is neither a TCP nor a Unix stream socket.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    /// let mut builder = AcceptorPool::with_fn(|_: Socket| async {});
    /// for listener in Listener::from_systemd()? {
    ///     builder = builder.listener(listener);
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(all(unix, feature = "listenfd"))))]
    pub fn from_systemd() -> io::Result<Vec<Self>> {
        with_activated(|sockets| {
            sockets.iter_mut().filter(|socket| !socket.is_taken).map(Activated::listener).collect()
        })
    }

    /// Returns the sockets with this name (`FileDescriptorName=`) that systemd opened for this program: one for each
    /// `ListenStream=` of the socket unit. It is also the name of the listeners.
    ///
    /// Each call returns the same sockets, so it can be called again when a pool is restarted. Feature `listenfd`.
    ///
    /// # Errors
    /// [`SystemdError`], with the names that are available.
    ///
    /// ```
    /// use actix_acceptor::{transport::SystemdError, Listener};
    /// match Listener::from_systemd_named("http") {
    ///     Ok(listeners) => assert!(!listeners.is_empty()),
    ///     Err(SystemdError::NotFound { available, .. }) => assert!(available.is_empty(), "not started by systemd"),
    ///     Err(error) => panic!("{error}"),
    /// }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(all(unix, feature = "listenfd"))))]
    pub fn from_systemd_named(name: &str) -> Result<Vec<Self>, SystemdError> {
        with_activated(|sockets| {
            let named = sockets.iter_mut().filter(|socket| socket.name.as_deref() == Some(name));
            let listeners: Vec<_> = named.map(Activated::listener).collect::<io::Result<_>>()?;
            if listeners.is_empty() {
                let mut available: Vec<_> = sockets.iter().filter_map(|socket| socket.name.clone()).collect();
                available.sort();
                available.dedup();
                return Err(SystemdError::NotFound { name: name.to_owned(), available });
            }
            Ok(listeners)
        })
    }
}

impl Activated {
    fn listener(&mut self) -> io::Result<Listener> {
        let listener = Listener::from_socket(self.socket.try_clone()?);
        self.is_taken = true;
        Ok(match &self.name {
            Some(name) => listener.name(name.clone()),
            None => listener,
        })
    }
}

/// Calls `f` with the sockets, which are read from the environment once.
fn with_activated<R, E: From<io::Error>>(f: impl FnOnce(&mut Vec<Activated>) -> Result<R, E>) -> Result<R, E> {
    let mut activated = ACTIVATED.lock();
    if activated.is_none() {
        *activated = Some(from_environment()?);
    }
    f(activated.get_or_insert_default())
}

fn from_environment() -> io::Result<Vec<Activated>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let mut descriptors = listenfd::ListenFd::from_env();
    let mut sockets = Vec::with_capacity(descriptors.len());
    for index in 0..descriptors.len() {
        let name = names.next().flatten();
        let socket = match descriptors.take_tcp_listener(index) {
            Ok(tcp) => tcp.map(Inherited::from),
            Err(_) => descriptors.take_unix_listener(index).map(|unix| unix.map(Inherited::from)).map_err(|error| {
                let label = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
                let why = format!("passed socket {index}{label} is neither a TCP nor a Unix stream socket: {error}");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?,
        };
        sockets.extend(socket.map(|socket| Activated { name, socket, is_taken: false }));
    }
    Ok(sockets)
}
