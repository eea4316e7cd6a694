//! [`Format`], how replies and messages are written for other nodes.

use actix_acceptor::BoxError;
use serde::de::DeserializeOwned;
use serde::Serialize;

/// How replies and messages are written for other nodes. All nodes of a cluster must use the same format.
pub trait Format: Clone + Send + Sync + 'static {
    /// Writes a value.
    ///
    /// # Errors
    /// The value cannot be written in this format.
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, BoxError>;

    /// Reads a value. The bytes come from another node, which may be of another version.
    ///
    /// # Errors
    /// The bytes are not a value of this type.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError>;
}

/// The default format: [`postcard`], which is compact and needs no names of fields.
///
/// The fields and variants of a type have no names in it: between two versions of a program that run at the same time, append
/// variants at the end of an enum, and change nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl Format for Postcard {
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(postcard::to_stdvec(value)?)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError> {
        let (value, rest) = postcard::take_from_bytes(bytes)?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(format!("{} bytes after the value", rest.len()).into())
        }
    }
}
