//! [`FileRange`], a file to send to a peer.

use std::fs::{File, Metadata};
use std::future::Future;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::{Blocking, Stream};

/// The size of one read, in bytes, where `sendfile(2)` is not available.
const READ_SIZE: u64 = 64 * 1024;

/// A file, or a range of it, to send unchanged: with [`Conn::send_file`](crate::Conn::send_file),
/// [`Next::file`](crate::Next::file) or [`Socket::send_file`](crate::Socket::send_file).
///
/// On Linux, plain sockets send it with `sendfile(2)` on the arbiter's thread. A part that is not in the page cache blocks
/// that thread until it has been read. Otherwise, for example under TLS, the file is read in pieces on a blocking thread. A
/// file that is modified while it is sent may arrive as a mixture of old and new content.
#[derive(Clone, Debug)]
pub struct FileRange {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl FileRange {
    /// Opens a whole file, with its current length.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a regular file, else the error of the system.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        // Opening a pipe would wait for its other end.
        check_regular(&std::fs::metadata(&path)?)?;
        Self::new(File::open(path)?, ..)
    }

    /// Creates a range of an open file. The position of the file is neither used nor changed.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a regular file or the range is not within the file, else the error of the system.
    ///
    /// ```
    /// use actix_acceptor::transport::FileRange;
    /// let file = std::sync::Arc::new(std::fs::File::open("Cargo.toml")?);
    /// let head = FileRange::new(file.clone(), ..9)?;
    /// assert_eq!((head.len(), head.is_empty()), (9, false));
    /// assert!(FileRange::new(file, ..1_000_000_000).is_err());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn new(file: impl Into<Arc<File>>, range: impl RangeBounds<u64>) -> io::Result<Self> {
        let file = file.into();
        let metadata = file.metadata()?;
        check_regular(&metadata)?;
        let size = metadata.len();
        let offset = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(previous) => previous.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => size,
        };
        match end.checked_sub(offset) {
            Some(length) if end <= size => Ok(FileRange { file, offset, length }),
            _ => {
                let text = format!("bytes {offset} to {end} are not within the file of {size} bytes");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

fn check_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// A file that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    range: FileRange,
    /// Whether the file is read and written, because `sendfile(2)` is not available.
    copies: bool,
    /// The read in progress, on a blocking thread.
    reading: Option<Blocking<io::Result<BytesMut>>>,
    /// Bytes read and not yet written.
    read: BytesMut,
}

impl Sending {
    pub(crate) fn new(range: FileRange) -> Self {
        Sending { range, copies: false, reading: None, read: BytesMut::new() }
    }

    /// The number of unsent bytes.
    pub(crate) fn left(&self) -> u64 {
        self.range.length + self.read.len() as u64
    }

    /// Whether the next bytes are being read on a blocking thread, so that the wait is not for the peer.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Sends up to `limit` bytes and returns how many. There must be unsent bytes.
    pub(crate) fn poll(
        &mut self,
        mut io: Pin<&mut Stream>,
        cx: &mut Context<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        if !self.copies {
            match self.poll_send_file(&io, cx, limit) {
                Some(sent) => return sent,
                None => self.copies = true,
            }
        }
        if self.read.is_empty() {
            self.read = ready!(self.poll_read_file(cx))?;
        }
        let limit = self.read.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        match ready!(io.as_mut().poll_write(cx, &self.read[..limit]))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => {
                self.read.advance(sent);
                Poll::Ready(Ok(sent))
            }
        }
    }

    /// Sends with `sendfile(2)`; `None` where that is not available.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn poll_send_file(&mut self, io: &Stream, cx: &mut Context<'_>, limit: u64) -> Option<Poll<io::Result<usize>>> {
        let FileRange { file, offset, length } = &mut self.range;
        let limit = usize::try_from(limit.min(*length)).unwrap_or(usize::MAX);
        match io.poll_send_file(cx, file, offset, limit)? {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(Ok(0)) => Some(Poll::Ready(Err(too_short(*length)))),
            Poll::Ready(Ok(sent)) => {
                *length -= sent as u64;
                Some(Poll::Ready(Ok(sent)))
            }
            Poll::Ready(Err(error)) if concerns_file(&error) => None,
            Poll::Ready(Err(error)) => Some(Poll::Ready(Err(error))),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn poll_send_file(&mut self, _: &Stream, _: &mut Context<'_>, _: u64) -> Option<Poll<io::Result<usize>>> {
        None
    }

    /// Reads the next piece on a blocking thread, so that the arbiter does not wait for the disk.
    fn poll_read_file(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        let FileRange { file, offset, length } = &mut self.range;
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                let (file, offset, size) = (file.clone(), *offset, READ_SIZE.min(*length) as usize);
                none.insert(Blocking::spawn(move || {
                    let mut piece = BytesMut::zeroed(size);
                    let read = read_at(&file, &mut piece, offset).map_err(unreadable)?;
                    piece.truncate(read);
                    Ok(piece)
                })?)
            }
        };
        let piece = ready!(Pin::new(reading).poll(cx))??;
        self.reading = None;
        if piece.is_empty() {
            return Poll::Ready(Err(too_short(*length)));
        }
        *offset += piece.len() as u64;
        *length -= piece.len() as u64;
        Poll::Ready(Ok(piece))
    }
}

/// Whether an error of `sendfile(2)` may be about the file; reading the file then decides. `EINVAL`: not every file supports
/// it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn concerns_file(error: &io::Error) -> bool {
    use libc::{EBADF, EINVAL, EIO, EISDIR, ENODATA, ENOTCONN, EOVERFLOW, ESTALE};
    let code = error.raw_os_error();
    matches!(code, Some(EBADF | EINVAL | EIO | EISDIR | ENODATA | ENOTCONN | EOVERFLOW | ESTALE))
}

/// Its kind is not that of `error`: an error of a remote file system may have a kind that means a lost peer for a socket.
fn unreadable(error: io::Error) -> io::Error {
    io::Error::other(format!("cannot read the file: {error}"))
}

fn too_short(missing: u64) -> io::Error {
    let text = format!("the file was truncated while it was sent: {missing} bytes are missing");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    /// Sends this source file. Returns whether it was copied through user space, and what arrived.
    async fn sent(mut io: Stream, mut peer: impl tokio::io::AsyncRead + Unpin) -> (bool, Vec<u8>) {
        let mut file = Sending::new(FileRange::open(file!()).unwrap());
        while file.left() > 0 {
            poll_fn(|cx| file.poll(Pin::new(&mut io), cx, 1_000)).await.unwrap();
        }
        let (copies, mut arrived) = (file.copies, Vec::new());
        drop(io);
        peer.read_to_end(&mut arrived).await.unwrap();
        (copies, arrived)
    }

    #[actix_rt::test]
    async fn plain_sockets_use_sendfile() {
        let expected = std::fs::read(file!()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let local = Stream::from(listener.accept().await.unwrap().0);
        let by_user_space = !cfg!(any(target_os = "linux", target_os = "android"));
        assert_eq!(sent(local, peer).await, (by_user_space, expected.clone()));
        #[cfg(unix)]
        {
            let (local, peer) = tokio::net::UnixStream::pair().unwrap();
            assert_eq!(sent(local.into(), peer).await, (by_user_space, expected.clone()));
        }
        let (local, peer) = tokio::io::duplex(1 << 20);
        assert_eq!(sent(Stream::other(local), peer).await, (true, expected));
    }
}
