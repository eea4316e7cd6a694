//! Handshakes: a custom one, the PROXY protocol, TLS.

mod custom;
mod proxy;
mod proxy_headers;
mod tls;
mod tls_records;
mod tls_reload;
