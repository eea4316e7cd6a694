//! [`MainError`], an error that `main` prints as a readable message.

use std::error::Error;
use std::fmt;

use super::{with_sources, BoxError};

/// The error of `main`: any error, printed with its message and its sources.
///
/// If `main` returns an error, the standard library prints it with `Debug`, which is hard to read:
/// `Error: SystemError { what: "127.0.0.1:7878", source: Os { code: 98, .. } }`. This type prints what `Display` returns instead,
/// followed by the sources, separated by colons:
///
/// ```text
/// Error: cannot set up 127.0.0.1:7878 (pass another address, or stop the program that uses this one): Address already in use (os error 98)
/// ```
///
/// The exit code is 1, as for every error that `main` returns. Programs that use `anyhow` or `eyre` do not need this type.
///
/// ```
/// use actix_acceptor::{AcceptorPool, MainError, Socket};
///
/// #[actix::main]
/// async fn main() -> Result<(), MainError> {
///     let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
///     let address = taken.local_addr()?;
///     let started = AcceptorPool::with_fn(|_: Socket| async {}).bind(address).await;
///     let error = MainError::from(started.expect_err("the address is in use"));
///     assert!(format!("{error:?}").starts_with(&format!("cannot set up {address} (pass another address")));
///     Ok(())
/// }
/// ```
// It does not implement `Error`, or `From<E>` would overlap with `From<T> for T`.
pub struct MainError(BoxError);

impl<E: Into<BoxError>> From<E> for MainError {
    fn from(error: E) -> Self {
        MainError(error.into())
    }
}

/// The message of the error, without its sources.
impl fmt::Display for MainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The messages of the error and its sources, separated by colons.
impl fmt::Debug for MainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_sources(&*self.0))
    }
}

impl AsRef<dyn Error + Send + Sync> for MainError {
    fn as_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}
