//! [`OpenTransport`], the transport of a listener: a socket whose options can be changed, or a user-defined one.

use std::any::Any;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::change_options::{OptionError, OptionResult};
#[cfg(unix)]
use super::Unix;
use super::{ListenerKind, ListenerOptions, OwnedListener, SocketOptions, Tcp, Transport};
use crate::panic::Guarded;

pub(crate) enum OpenTransport {
    Tcp(Tcp),
    #[cfg(unix)]
    Unix(Unix),
    Other(Guarded<Box<dyn Transport>>),
}

impl OpenTransport {
    /// Recognizes the sockets of this crate.
    pub(super) fn of<T: Transport>(transport: T) -> Self {
        let mut transport = Some(transport);
        let any: &mut dyn Any = &mut transport;
        if let Some(tcp) = any.downcast_mut::<Option<Tcp>>().and_then(Option::take) {
            return OpenTransport::Tcp(tcp);
        }
        #[cfg(unix)]
        if let Some(unix) = any.downcast_mut::<Option<Unix>>().and_then(Option::take) {
            return OpenTransport::Unix(unix);
        }
        OpenTransport::Other(Guarded::new(Box::new(transport.expect("taken only if it is a socket"))))
    }

    /// Whether it can be closed and opened again: its `suspend` does not fail then.
    pub(crate) fn can_close(&self) -> bool {
        match self {
            OpenTransport::Tcp(tcp) => !tcp.is_inherited(),
            #[cfg(unix)]
            OpenTransport::Unix(unix) => !unix.is_inherited(),
            OpenTransport::Other(_) => false,
        }
    }

    /// Whether the system chose the port.
    pub(super) fn has_system_port(&self) -> bool {
        matches!(self, OpenTransport::Tcp(tcp) if tcp.has_system_port())
    }

    /// The options in force.
    pub(super) fn options(&self) -> Arc<SocketOptions> {
        match self {
            OpenTransport::Tcp(tcp) => tcp.options(),
            #[cfg(unix)]
            OpenTransport::Unix(unix) => unix.options(),
            OpenTransport::Other(_) => Arc::default(),
        }
    }

    /// The options that the system reports for the open socket.
    pub(crate) fn options_in_force(&self) -> ListenerOptions {
        match self {
            OpenTransport::Tcp(tcp) => tcp.options_in_force(),
            #[cfg(unix)]
            OpenTransport::Unix(unix) => unix.options_in_force(),
            OpenTransport::Other(_) => ListenerOptions::default(),
        }
    }

    /// Other descriptors of the open sockets. Empty if it is closed or not a socket of this crate.
    pub(crate) fn duplicates(&self) -> io::Result<Vec<OwnedListener>> {
        match self {
            OpenTransport::Tcp(tcp) => tcp.duplicates(),
            #[cfg(unix)]
            OpenTransport::Unix(unix) => Ok(unix.duplicate()?.into_iter().collect()),
            OpenTransport::Other(_) => Ok(Vec::new()),
        }
    }

    /// The socket, if acceptors have sockets of their own.
    pub(super) fn with_own_sockets(&self) -> Option<&Tcp> {
        match self {
            OpenTransport::Tcp(tcp) if tcp.has_own_sockets() => Some(tcp),
            _ => None,
        }
    }

    /// Whether acceptors have sockets of their own, each with its own queue.
    pub(crate) fn has_own_sockets(&self) -> bool {
        self.with_own_sockets().is_some()
    }

    /// Whether the options of the open socket can be changed to these. Changes nothing.
    pub(super) fn check_options(&self, options: &SocketOptions) -> OptionResult {
        match self {
            OpenTransport::Tcp(tcp) => tcp.check_options(options),
            #[cfg(unix)]
            OpenTransport::Unix(unix) => unix.check_options(options),
            OpenTransport::Other(_) => match options.invalid_settings(ListenerKind::Transport).into_iter().next() {
                None => Ok(()),
                Some(invalid) => Err(OptionError::Invalid(invalid)),
            },
        }
    }

    /// Whether these options differ in effect for this socket.
    pub(super) fn changes(&self, before: &SocketOptions, options: &SocketOptions) -> bool {
        let address = self.local_addr().ip();
        let has_dual_stack = address.is_some_and(|ip| ip.is_ipv6() && ip.is_unspecified());
        before.normalized(has_dual_stack) != options.normalized(has_dual_stack)
    }

    /// Changes the options of the open socket, which stays open. On an error some may have changed.
    pub(super) fn set_options(&self, before: &SocketOptions, options: &SocketOptions) -> OptionResult {
        match self {
            OpenTransport::Tcp(tcp) => tcp.set_options(before, options),
            #[cfg(unix)]
            OpenTransport::Unix(unix) => unix.set_options(before, options),
            OpenTransport::Other(_) => Ok(()),
        }
    }
}

impl Deref for OpenTransport {
    type Target = dyn Transport;

    fn deref(&self) -> &Self::Target {
        match self {
            OpenTransport::Tcp(tcp) => tcp,
            #[cfg(unix)]
            OpenTransport::Unix(unix) => unix,
            OpenTransport::Other(transport) => &***transport,
        }
    }
}
