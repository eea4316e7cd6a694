//! Telemetry. A binary of its own: the `tracing` subscriber and the metrics recorder are set once per process.

#![allow(clippy::unwrap_used)]

mod alarms;
mod counters;
#[cfg(all(feature = "native-tls", feature = "proxy-protocol", feature = "rustls"))]
mod handshakes;
mod limits;
mod live;
mod log_limits;
mod metrics;
mod observers;
mod pool_lines;
mod spans;
mod watchdog;
