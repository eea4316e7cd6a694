//! Addresses, byte streams, files to send, blocking work, and the shared I/O buffers.

mod address;
mod blocking;
mod buffers;
mod cidr;
mod credentials;
mod file;
mod io;
mod parts;
mod stream;
#[cfg(unix)]
mod unix_address;

pub use address::Address;
pub(crate) use blocking::{no_thread, Blocking};
pub(crate) use buffers::{Buffers, READ_BUFFER};
pub(crate) use cidr::Cidr;
pub use cidr::ParseCidrError;
pub use credentials::PeerCredentials;
pub use file::FileRange;
pub(crate) use file::Sending;
#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
pub(crate) use io::delegate_write;
pub use io::Io;
pub use stream::{Stream, TransportKind};
#[cfg(unix)]
pub use unix_address::UnixAddress;
