//! The packages whose types are in the public API, at the versions that this crate was built with.
//!
//! A program that itself depends on one of them must use a compatible version:
#![cfg_attr(doc, doc = "[Versions](crate::guide::versions#which-versions-go-together)")]
//! lists them. A library on top of this crate, or a program that does not list the package in its `Cargo.toml`, can use these
//! names instead.
//!
//! ```
//! use actix_acceptor::{prelude::*, reexports::bytes::Bytes};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Codec = Framing;
//!     type Reply = Bytes;
//!     type User = ();
//!
//!     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
//!         Next::Send(packet)
//!     }
//! }
//! ```
//!
//! The macros of actix (`#[actix::main]`, `#[derive(Message)]`) and of serde still need the package itself in `Cargo.toml`.

#[doc(no_inline)]
pub use {actix, bytes, futures_core, socket2, tokio, tokio_util, tracing};

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
#[doc(no_inline)]
pub use metrics;
#[cfg(feature = "native-tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "native-tls")))]
#[doc(no_inline)]
pub use native_tls;
#[cfg(feature = "rustls-no-provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
#[doc(no_inline)]
pub use rustls;
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[doc(no_inline)]
pub use serde;
