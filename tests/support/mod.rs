//! What the integration tests share: patience, peers, an echo, a recorder of endings, a transport by script.

// Every test file takes what it needs and leaves the rest.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

pub mod acceptors;
mod doomed;
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
mod protocols;
mod scripted;
mod witness;

pub use doomed::Doomed;
pub use folder::Folder;
pub use gate::{Gate, Opener};
pub use own::{echo, Own};
pub use patience::{eventually, eventually_blocking, ms, pass, soon, within, PATIENCE};
pub use paused::{in_memory, on_time, paused};
pub use peer::{connect, BlockingPeer, Peer};
pub use probe::{default_next, Call, Diary, Probe};
pub use protocols::{Closings, Echo, Recorded, Recorder};
pub use scripted::{Director, Scripted};
pub use witness::{End, Seen, Who, Witness};
