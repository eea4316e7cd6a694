//! Changes to the options of an open socket.

use std::io;

use socket2::SockRef;

use super::SocketOptions;
use crate::error::InvalidSetting;

/// Why an option of an open socket was not changed.
pub(super) enum OptionError {
    /// It cannot be changed while the socket is open.
    Invalid(InvalidSetting),
    /// The system, or the user's hook, rejected this setting.
    System(&'static str, io::Error),
}

pub(super) type OptionResult = Result<(), OptionError>;

/// Names the setting that the system rejected.
pub(super) fn rejected(setting: &'static str) -> impl FnOnce(io::Error) -> OptionError {
    move |error| OptionError::System(setting, error)
}

/// The error of a setting that is fixed while the socket is open.
pub(super) fn fixed(setting: &'static str, before: impl std::fmt::Debug, asked: impl std::fmt::Debug) -> OptionError {
    let why = format!(
        "cannot change from {before:?} to {asked:?} while the socket is open; remove the listener, then add it again"
    );
    OptionError::Invalid(InvalidSetting::new(setting, why))
}

impl SocketOptions {
    /// Checks for options that cannot be unset: an open socket does not return to the kernel's default.
    pub(super) fn check_unset(&self, before: &Self, is_tcp: bool) -> OptionResult {
        let cannot_unset = |setting| {
            let why =
                "cannot be unset while the socket is open; set a value, or remove the listener, then add it again";
            Err(OptionError::Invalid(InvalidSetting::new(setting, why)))
        };
        if self.on_bind.is_none() && before.on_bind.is_some() {
            return cannot_unset("on_bind");
        }
        // For a Unix socket they are set on the accepted sockets only.
        if is_tcp && self.send_buffer.is_none() && before.send_buffer.is_some() {
            return cannot_unset("send_buffer");
        }
        if is_tcp && self.receive_buffer.is_none() && before.receive_buffer.is_some() {
            return cannot_unset("receive_buffer");
        }
        match (self.keepalive, before.keepalive) {
            (Some(asked), Some(before)) if asked.unsets(&before) => cannot_unset("keepalive"),
            _ => Ok(()),
        }
    }

    /// Calls a new hook, and sets the backlog if it differs. An inherited socket keeps its backlog if none is requested.
    pub(super) fn change_listening(&self, before: &Self, socket: SockRef<'_>, is_inherited: bool) -> OptionResult {
        if self.backlog() != before.backlog() && !(is_inherited && self.backlog.is_none()) {
            socket.listen(self.backlog()).map_err(rejected("backlog"))?;
        }
        match &self.on_bind {
            Some(hook) if self.on_bind != before.on_bind => hook.call(socket).map_err(rejected("on_bind")),
            _ => Ok(()),
        }
    }

    /// Sets the options that accepted TCP sockets inherit, where they differ.
    pub(super) fn change_tcp(&self, before: &Self, socket: &SockRef<'_>) -> OptionResult {
        let nodelay = self.nodelay.unwrap_or(true);
        if nodelay != before.nodelay.unwrap_or(true) {
            socket.set_tcp_nodelay(nodelay).map_err(rejected("nodelay"))?;
        }
        if self.keepalive != before.keepalive {
            let set = match self.keepalive {
                None => socket.set_keepalive(false),
                Some(keepalive) => socket.set_tcp_keepalive(&keepalive.params()),
            };
            set.map_err(rejected("keepalive"))?;
        }
        if let Some(bytes) = self.send_buffer.filter(|_| self.send_buffer != before.send_buffer) {
            socket.set_send_buffer_size(bytes).map_err(rejected("send_buffer"))?;
        }
        if let Some(bytes) = self.receive_buffer.filter(|_| self.receive_buffer != before.receive_buffer) {
            socket.set_recv_buffer_size(bytes).map_err(rejected("receive_buffer"))?;
        }
        Ok(())
    }

    /// The options with defaults filled in, for comparison. `only_v6` matters only where IPv4 peers could connect.
    pub(super) fn normalized(&self, has_dual_stack: bool) -> Self {
        SocketOptions {
            backlog: u32::try_from(self.backlog()).ok(),
            nodelay: Some(self.nodelay.unwrap_or(true)),
            reuse_port: Some(self.reuse_port.unwrap_or(false)),
            reuse_port_per_acceptor: Some(self.has_socket_per_acceptor()),
            multipath_tcp: Some(self.multipath_tcp.unwrap_or_default()),
            only_v6: self.only_v6.filter(|_| has_dual_stack),
            ..self.clone()
        }
    }

    /// Whether accepted TCP sockets inherit other values.
    pub(super) fn changes_accepted(&self, before: &Self) -> bool {
        (self.nodelay, self.keepalive, self.send_buffer, self.receive_buffer)
            != (before.nodelay, before.keepalive, before.send_buffer, before.receive_buffer)
    }
}
