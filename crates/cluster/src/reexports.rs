//! The packages whose types are in the public API, at the versions that this crate was built with.
//!
//! A program that itself depends on one of them must use a compatible version. `async-nats` is not one of them: its version can
//! change with any version of this crate.
//!
//! The macros of actix (`#[actix::main]`, `#[derive(Message)]`) and of serde still need the package itself in `Cargo.toml`.

#[doc(no_inline)]
pub use {actix, actix_acceptor, bytes, serde};
