//! What the integration tests share: time limits, peers, protocols that record their calls, a scripted transport.

#![allow(clippy::unwrap_used)]

pub mod acceptors;
pub mod draining;
mod end_on_request;
mod event_recorder;
mod examples;
mod failing_codec;
mod folder;
mod gate;
mod guest;
pub mod logs;
mod paused;
mod peer;
#[cfg(feature = "rustls")]
#[cfg(feature = "rustls")]
pub mod pki;
mod probe;
mod program;
pub mod prometheus;
mod protocols;
mod scripted;
mod sockets;
pub mod spans;
mod time_limits;

pub use end_on_request::EndOnRequest;
pub use event_recorder::{ConnectionKey, Ending, EventRecorder, RecordedEvent};
pub use examples::example;
pub use failing_codec::FailingCodec;
pub use folder::Folder;
pub use gate::{Gate, GateOpener};
pub use guest::{guests, Guest};
pub use paused::{assert_on_time, elapse, in_memory, paused};
pub use peer::{connect, BlockingPeer, Peer};
pub use probe::{protocol_default, Call, Callbacks, Probe};
pub use program::program;
pub use protocols::{Closings, Echo, Recorded, Recorder};
pub use scripted::{ScriptHandle, ScriptedTransport};
pub use sockets::{echo, SocketActor};
pub use time_limits::{eventually, eventually_blocking, in_time, ms, pass, within, TIME_LIMIT};
