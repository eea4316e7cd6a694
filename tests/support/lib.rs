//! What the integration tests share: time limits, peers, protocols that record their calls, a scripted transport.

#![allow(clippy::unwrap_used)]

pub mod acceptors;
mod doomed;
pub mod draining;
mod failing_codec;
mod folder;
mod gate;
pub mod logs;
mod own;
mod patience;
mod paused;
mod peer;
#[cfg(feature = "rustls")]
pub mod pki;
mod probe;
mod program;
pub mod prometheus;
mod protocols;
mod scripted;
pub mod spans;
mod witness;

pub use doomed::Doomed;
pub use failing_codec::Touchy;
pub use folder::Folder;
pub use gate::{Gate, Opener};
pub use own::{echo, Own};
pub use patience::{eventually, eventually_blocking, ms, pass, soon, within, PATIENCE};
pub use paused::{in_memory, on_time, paused};
pub use peer::{connect, BlockingPeer, Peer};
pub use probe::{default_next, Call, Diary, Probe};
pub use program::program;
pub use protocols::{Closings, Echo, Recorded, Recorder};
pub use scripted::{Director, Scripted};
pub use witness::{End, Seen, Who, Witness};
