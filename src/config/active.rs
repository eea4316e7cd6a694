//! How packets are taken from a socket.

/// How packets are taken from the socket: the `active` option of Erlang's
/// [`inet:setopts/2`](https://www.erlang.org/doc/apps/kernel/inet.html#setopts/2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Active {
    /// All packets, as they arrive.
    #[default]
    Always,
    /// One packet, then [`Passive`](Active::Passive).
    Once,
    /// This many packets, then [`Passive`](Active::Passive), announced by [`Protocol::passive`](crate::Protocol::passive). Setting it again adds to what
    /// is left. With 0 the announcement comes at once.
    Count(u32),
    /// No packets: the socket is not read, so a FIN of the peer is not noticed (a reset is).
    Passive,
}
