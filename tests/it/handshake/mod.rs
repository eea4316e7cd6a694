//! Handshakes: a custom one, the PROXY protocol, TLS.

mod claims;
mod custom;
mod encrypted_key;
mod inspect;
mod pkcs12;
mod proxy;
mod proxy_encode;
mod proxy_headers;
mod proxy_tls;
mod slots;
mod tls;
mod tls_names;
mod tls_records;
mod tls_reload;
mod tls_replace;
mod upgrade;
