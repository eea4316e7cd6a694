//! [`Format`], the encoding of replies and messages between nodes.

use actix_acceptor::BoxError;
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::Serialize;

/// How replies and messages are encoded for other nodes. All nodes of a cluster must use the same format.
pub trait Format: Clone + Send + Sync + 'static {
    /// Writes a value.
    ///
    /// # Errors
    /// The value cannot be written in this format.
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, BoxError>;

    /// Appends a value to `bytes`, encoded as by [`encode`](Format::encode), and returns `bytes`. Implement it if the format can
    /// append without a copy.
    ///
    /// # Errors
    /// As [`encode`](Format::encode).
    fn append<T: Serialize>(&self, value: &T, mut bytes: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        bytes.extend_from_slice(&self.encode(value)?);
        Ok(bytes)
    }

    /// Reads a value. The bytes come from another node, which may be of another version.
    ///
    /// # Errors
    /// The bytes are not a value of this type.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, BoxError>;
}

/// The default format: [`postcard`], which is compact and writes no field names.
///
/// Since fields and variants are identified only by position, the only compatible change between two versions of a program that run
/// at the same time is to append variants at the end of an enum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl Format for Postcard {
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        self.append(value, Vec::new())
    }

    fn append<T: Serialize>(&self, value: &T, bytes: Vec<u8>) -> Result<Vec<u8>, BoxError> {
        Ok(postcard::serialize_with_flavor(value, Growing(bytes))?)
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

/// Bytes that a value is appended to, slices at once.
struct Growing(Vec<u8>);

impl Flavor for Growing {
    type Output = Vec<u8>;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}
