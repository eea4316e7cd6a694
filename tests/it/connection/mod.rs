//! Connections: callbacks, messages, back-pressure, endings.

mod active;
mod addresses;
mod blocking;
mod codec;
mod codec_factories;
mod decode_errors;
mod detach;
mod endings;
mod files;
mod flow;
mod flushed;
mod info;
mod next;
mod packet_rate;
mod peer_leaves;
mod periods;
mod resets;
mod shutdown_write;
mod stop_reasons;
mod streams;
mod timers;
mod turns;
mod waits;
