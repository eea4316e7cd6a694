//! Listening on a Unix socket: a file, or a name of Linux's own.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::UnixStream;

use super::inherited::{check_listening, not_ours};
use super::readiness::Readiness;
use super::unix_file::UnixFile;
use super::{Accept, Accepted, SocketOptions, Transport};
use crate::net::{Address, UnixAddress};

/// A listening Unix socket.
///
/// A file that another program has left behind is found by trying to connect, and removed; where somebody listens the
/// address is in use. The file goes with the socket, if it is still its own: at the end, and while it is suspended.
///
/// The folder must be one where nobody else may rename files, as for every socket.
#[derive(Debug)]
pub struct Unix {
    /// `None` while it is suspended.
    socket: Mutex<Option<Open>>,
    place: Location,
    options: Arc<SocketOptions>,
}

/// In this order: as long as the socket is open, no other file can have the number of its own.
#[derive(Debug)]
struct Open {
    _file: Option<UnixFile>,
    socket: UnixListener,
}

#[derive(Debug)]
enum Location {
    File(PathBuf),
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Abstract(Vec<u8>),
    Inherited(UnixAddress),
}

impl Unix {
    /// Listens on a file, which must not be there yet, or be left over. Its mode is what the process's umask leaves of
    /// 0o777; [`Listener::mode`](crate::Listener::mode) says otherwise.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there, or the file is not a socket; else what the system says. A path is some 100
    /// bytes long at the most.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("doc-unix-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// use actix_acceptor::transport::Unix;
    /// let path = folder.join("echo.sock");
    /// let unix = Unix::bind(&path)?;
    /// assert_eq!(Unix::bind(&path).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    /// drop(unix);
    /// assert!(!path.exists());
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_file(path.as_ref(), SocketOptions::default())
    }

    pub(crate) fn open_file(path: &Path, options: SocketOptions) -> io::Result<Self> {
        // Still the same file when the process has gone to another folder.
        Self::open(Location::File(std::path::absolute(path)?), options)
    }

    /// Listens on an abstract name, given without the zero byte in front: no file, and nothing that could be left behind.
    /// Anyone on the machine may connect: look at the [credentials](crate::Conn::peer_credentials).
    ///
    /// # Errors
    /// What the system says. `InvalidInput` for the empty name.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn bind_abstract(name: impl AsRef<[u8]>) -> io::Result<Self> {
        Self::open_abstract(name.as_ref(), SocketOptions::default())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn open_abstract(name: &[u8], options: SocketOptions) -> io::Result<Self> {
        if name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is empty"));
        }
        Self::open(Location::Abstract(name.into()), options)
    }

    /// A socket that listens already. Its file stays where it is, and it can be suspended by
    /// [`Hold`](crate::SuspendMode::Hold) alone: others may have it open as well.
    ///
    /// # Errors
    /// `InvalidInput` when it is not a Unix stream socket that listens, else what the system says.
    pub fn inherited(socket: UnixListener) -> io::Result<Self> {
        Self::take_over(socket, SocketOptions::default())
    }

    pub(super) fn take_over(socket: UnixListener, options: SocketOptions) -> io::Result<Self> {
        let shown = SockRef::from(&socket);
        if !shown.local_addr()?.is_unix() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a Unix socket"));
        }
        check_listening(&shown)?;
        let place = Location::Inherited((&socket.local_addr()?).into());
        options.take_over(shown)?;
        let socket = Mutex::new(Some(Open { _file: None, socket }));
        Ok(Unix { socket, place, options: Arc::new(options) })
    }

    fn open(place: Location, options: SocketOptions) -> io::Result<Self> {
        let open = place.open(&options)?;
        Ok(Unix { socket: Mutex::new(Some(open)), place, options: Arc::new(options) })
    }

    fn socket(&self) -> MutexGuard<'_, Option<Open>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Location {
    fn open(&self, options: &SocketOptions) -> io::Result<Open> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let file = match self {
            Location::File(path) => Some(UnixFile::bind(&socket, path, options)?),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Location::Abstract(name) => {
                let name = [b"\0", &name[..]].concat();
                let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&name);
                socket.bind(&socket2::SockAddr::unix(path)?)?;
                options.listen(&socket)?;
                None
            }
            Location::Inherited(_) => return Err(not_ours()),
        };
        Ok(Open { _file: file, socket: std::os::fd::OwnedFd::from(socket).into() })
    }
}

impl Transport for Unix {
    fn local_addr(&self) -> Address {
        Address::Unix(match &self.place {
            Location::File(path) => UnixAddress::path(path),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Location::Abstract(name) => UnixAddress::abstract_name(name),
            Location::Inherited(address) => address.clone(),
        })
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let open = self.socket();
        let open = open.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "suspended"))?;
        let socket = mio::net::UnixListener::from_std(open.socket.try_clone()?);
        Ok(Box::new(Share { socket: Readiness::of(socket)?, options: self.options.clone() }))
    }

    fn suspend(&self) -> io::Result<()> {
        if matches!(self.place, Location::Inherited(_)) {
            return Err(not_ours());
        }
        self.socket().take();
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        let mut socket = self.socket();
        if socket.is_none() {
            *socket = Some(self.place.open(&self.options)?);
        }
        Ok(())
    }
}

struct Share {
    socket: Readiness<mio::net::UnixListener>,
    options: Arc<SocketOptions>,
}

impl Accept for Share {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll(cx)
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        let (stream, peer) = self.socket.accept(|socket| socket.accept())?;
        let stream = UnixStream::from_std(stream.into())?;
        // Nothing is taken over from the listening socket here.
        self.options.set_buffers(&SockRef::from(&stream))?;
        self.options.show_accepted(&stream)?;
        Ok(Accepted { stream: stream.into(), peer: Address::Unix((&peer).into()) })
    }
}
