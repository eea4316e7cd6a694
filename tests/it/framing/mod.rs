//! `Framing`: on plain buffers and over sockets.

mod buffers;
mod wire;
