//! A file on its way to a peer.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;
use tokio::task::{spawn_blocking, JoinHandle};

use super::Stream;

/// What is read at once where the kernel does not send files by itself.
const CHUNK: u64 = 64 * 1024;

/// A file, or a range of it, to be sent as it is: by [`Conn::send_file`](crate::Conn::send_file),
/// [`Next::file`](crate::Next::file) or [`Socket::send_file`](crate::Socket::send_file).
///
/// On Linux the kernel sends it by itself where the socket is plain (`sendfile(2)`), in the arbiter's thread: what is not
/// cached is waited for there. Everywhere else, under TLS for example, it is read in pieces on a thread of its own. A file
/// that is changed while it is sent arrives as a mixture.
#[derive(Clone, Debug)]
pub struct FileRange {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl FileRange {
    /// A whole file, as long as it is now.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(File::open(path)?, ..)
    }

    /// These bytes of an open file; where it stands does not matter, and is not changed.
    ///
    /// # Errors
    /// `InvalidInput` for a range that is not within the file, else what the system says.
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
        let size = file.metadata()?.len();
        let offset = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
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
                let text = format!("bytes {offset} to {end} of a file of {size}");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// A file that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    range: FileRange,
    /// Through user space.
    copies: bool,
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
    read: BytesMut,
}

impl Sending {
    pub(crate) fn new(range: FileRange) -> Self {
        Sending { range, copies: false, reading: None, read: BytesMut::new() }
    }

    /// How many bytes are not sent yet.
    pub(crate) fn left(&self) -> u64 {
        self.range.length + self.read.len() as u64
    }

    /// Sends some of it, not more than that; how much it was. There must be something left.
    pub(crate) fn poll(
        &mut self,
        mut io: Pin<&mut Stream>,
        cx: &mut Context<'_>,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        if !self.copies {
            match self.send(&io, cx, most) {
                Some(sent) => return sent,
                None => self.copies = true,
            }
        }
        if self.read.is_empty() {
            self.read = ready!(self.read(cx))?;
        }
        let most = self.read.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        match ready!(io.as_mut().poll_write(cx, &self.read[..most]))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => {
                self.read.advance(sent);
                Poll::Ready(Ok(sent))
            }
        }
    }

    /// By the kernel alone; `None` where it cannot.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send(&mut self, io: &Stream, cx: &mut Context<'_>, most: u64) -> Option<Poll<io::Result<usize>>> {
        let FileRange { file, offset, length } = &mut self.range;
        let most = usize::try_from(most.min(*length)).unwrap_or(usize::MAX);
        match io.poll_send_file(cx, file, offset, most)? {
            Poll::Pending => Some(Poll::Pending),
            Poll::Ready(Ok(0)) => Some(Poll::Ready(Err(too_short(*length)))),
            Poll::Ready(Ok(sent)) => {
                *length -= sent as u64;
                Some(Poll::Ready(Ok(sent)))
            }
            // Not every file can be sent in this way.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => None,
            Poll::Ready(Err(error)) => Some(Poll::Ready(Err(error))),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send(&mut self, _: &Stream, _: &mut Context<'_>, _: u64) -> Option<Poll<io::Result<usize>>> {
        None
    }

    /// The next piece, read elsewhere so that nobody waits for the disk.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        let FileRange { file, offset, length } = &mut self.range;
        let reading = self.reading.get_or_insert_with(|| {
            let (file, offset, most) = (file.clone(), *offset, CHUNK.min(*length) as usize);
            spawn_blocking(move || {
                let mut piece = BytesMut::zeroed(most);
                let read = read_at(&file, &mut piece, offset)?;
                piece.truncate(read);
                Ok(piece)
            })
        });
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)??;
        self.reading = None;
        if piece.is_empty() {
            return Poll::Ready(Err(too_short(*length)));
        }
        *offset += piece.len() as u64;
        *length -= piece.len() as u64;
        Poll::Ready(Ok(piece))
    }
}

fn too_short(missing: u64) -> io::Error {
    let text = format!("the file has become shorter while it was sent: {missing} bytes are missing");
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

    /// Sends this very file; whether it went through user space, and what arrived.
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
    async fn the_kernel_sends_by_itself_where_the_socket_is_plain() {
        let expected = std::fs::read(file!()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let ours = Stream::from(listener.accept().await.unwrap().0);
        let by_user_space = !cfg!(any(target_os = "linux", target_os = "android"));
        assert_eq!(sent(ours, peer).await, (by_user_space, expected.clone()));
        #[cfg(unix)]
        {
            let (ours, peer) = tokio::net::UnixStream::pair().unwrap();
            assert_eq!(sent(ours.into(), peer).await, (by_user_space, expected.clone()));
        }
        let (ours, peer) = tokio::io::duplex(1 << 20);
        assert_eq!(sent(Stream::other(ours), peer).await, (true, expected));
    }
}
