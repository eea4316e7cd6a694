//! What a [`Stream`] consists of: bytes that were put back, and a plain stream.

use bytes::BytesMut;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::stream::Inner;
use super::Stream;

impl Stream {
    /// Separates the bytes that were put back from the rest of the stream.
    pub(crate) fn split_put_back(mut self) -> (Stream, BytesMut) {
        let mut bytes = BytesMut::new();
        while let Inner::PutBack(put_back) = self.0 {
            bytes.extend_from_slice(&put_back.bytes);
            self = put_back.stream;
        }
        (self, bytes)
    }

    pub(crate) fn into_tcp(self) -> Result<TcpStream, Stream> {
        match self.0 {
            Inner::Tcp(tcp) => Ok(tcp),
            other => Err(Stream(other)),
        }
    }

    #[cfg(unix)]
    pub(crate) fn into_unix(self) -> Result<UnixStream, Stream> {
        match self.0 {
            Inner::Unix(unix) => Ok(unix),
            other => Err(Stream(other)),
        }
    }
}
