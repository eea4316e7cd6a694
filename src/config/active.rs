//! [`Active`], the mode in which a connection delivers packets.

/// How many packets a connection delivers before it becomes passive: the `active` option of Erlang's
/// [`inet:setopts/2`](https://www.erlang.org/doc/apps/kernel/inet.html#setopts/2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum Active {
    /// All packets, as they arrive.
    #[default]
    Always,
    /// One packet, then [`Passive`](Active::Passive).
    Once,
    /// This many packets, then [`Passive`](Active::Passive) and a call of [`Protocol::passive`](crate::Protocol::passive).
    ///
    /// Setting it again adds to the number that is left. With 0, `passive` is called at once.
    Count(u32),
    /// No packets. The socket is not read.
    ///
    /// If the peer resets the connection, it ends within 0.25 s. The idle timeout is paused in this mode, but after a FIN it
    /// runs: [`Protocol::timeout`](crate::Protocol::timeout) is called, and what the peer sent before can still be read. A
    /// stream other than TCP, a Unix socket, or TLS over one of them may not report a FIN
    /// ([`Io::is_read_closed`](crate::transport::Io::is_read_closed)); there, set a [`max_age`](crate::Builder::max_age).
    Passive,
}
