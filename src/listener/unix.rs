//! Listening on a Unix socket: at a path, or under an abstract name of Linux.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::UnixStream;

use super::change_options::{rejected, OptionError, OptionResult};
use super::inherited::{cannot_reopen, check_listening};
use super::readiness::Readiness;
use super::unix_file::UnixFile;
use super::{Accept, Accepted, ListenerKind, ListenerOptions, OwnedListener, SocketOptions, Transport};
use crate::net::{Address, UnixAddress};

/// A listening Unix socket.
///
/// A stale file left by another program is detected by a connection attempt and removed. If a process listens there, the
/// address is in use. The file is removed when the socket closes, at the end and while suspended, if it still belongs to
/// this socket.
///
/// As for every Unix socket, no other user may have permission to rename files in the directory.
#[derive(Debug)]
pub struct Unix {
    /// `None` while suspended.
    socket: Mutex<Option<Arc<Open>>>,
    location: Location,
    options: Arc<ArcSwap<SocketOptions>>,
}

/// Dropped in this order: while the socket is open, no other file can get its inode number.
#[derive(Debug)]
struct Open {
    file: Option<UnixFile>,
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
    /// Listens at a path that does not exist or is a stale socket file.
    ///
    /// The mode of the file is 0o777 minus the umask of the process, unless
    /// [`Listener::mode`](crate::Listener::mode) sets another.
    ///
    /// # Errors
    /// `AddrInUse` if a process listens there or the file is not a socket; else the error of the system. A path has at most
    /// about 100 bytes.
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
        // An absolute path stays valid when the process changes its working directory.
        Self::open(Location::File(std::path::absolute(path)?), options)
    }

    /// Listens under an abstract name, given without the leading zero byte. There is no file.
    ///
    /// Every user of the machine may connect, so check the [credentials](crate::Conn::peer_credentials).
    ///
    /// # Errors
    /// `InvalidInput` for an empty name, else the error of the system.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn bind_abstract(name: impl AsRef<[u8]>) -> io::Result<Self> {
        Self::open_abstract(name.as_ref(), SocketOptions::default())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn open_abstract(name: &[u8], options: SocketOptions) -> io::Result<Self> {
        if name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the abstract name must not be empty"));
        }
        Self::open(Location::Abstract(name.into()), options)
    }

    /// Uses a socket that already listens. Its file is never removed.
    ///
    /// It can be suspended only with [`Hold`](crate::SuspendMode::Hold), because other processes may have it open as well.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a listening Unix stream socket, else the error of the system.
    pub fn inherited(socket: UnixListener) -> io::Result<Self> {
        Self::take_over(socket, SocketOptions::default())
    }

    pub(super) fn take_over(socket: UnixListener, options: SocketOptions) -> io::Result<Self> {
        let socket_ref = SockRef::from(&socket);
        if !socket_ref.local_addr()?.is_unix() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a Unix socket"));
        }
        check_listening(&socket_ref)?;
        let location = Location::Inherited((&socket.local_addr()?).into());
        options.take_over(socket_ref)?;
        let socket = Mutex::new(Some(Arc::new(Open { file: None, socket })));
        Ok(Unix { socket, location, options: Arc::new(ArcSwap::from_pointee(options)) })
    }

    pub(super) fn is_inherited(&self) -> bool {
        matches!(self.location, Location::Inherited(_))
    }

    pub(super) fn options(&self) -> Arc<SocketOptions> {
        self.options.load_full()
    }

    pub(super) fn options_in_force(&self) -> ListenerOptions {
        match *self.socket.lock() {
            Some(_) => ListenerOptions::requested(&self.options(), self.is_inherited()),
            None => ListenerOptions::default(),
        }
    }

    /// A duplicate of the descriptor. From now on the file of the socket is not removed.
    pub(super) fn duplicate(&self) -> io::Result<Option<OwnedListener>> {
        let Some(open) = self.socket.lock().clone() else { return Ok(None) };
        let socket = open.socket.try_clone()?;
        open.file.iter().for_each(UnixFile::keep);
        Ok(Some(OwnedListener::Unix(socket)))
    }

    /// Whether the options can be changed to these while the socket is open.
    pub(super) fn check_options(&self, options: &SocketOptions) -> OptionResult {
        let kind = match &self.location {
            Location::File(_) => ListenerKind::UnixFile,
            _ => ListenerKind::UnixOther,
        };
        if let Some(invalid) = options.unavailable_settings(kind).into_iter().next() {
            return Err(OptionError::Invalid(invalid));
        }
        match *self.socket.lock() {
            Some(_) => options.check_unset(&self.options(), false),
            None => Ok(()),
        }
    }

    pub(super) fn set_options(&self, before: &SocketOptions, options: &SocketOptions) -> OptionResult {
        let open = self.socket.lock().clone();
        if let Some(open) = &open {
            if let Some(file) = &open.file {
                if options.mode != before.mode {
                    file.set_mode(options.mode).map_err(rejected("mode"))?;
                }
                if options.owner != before.owner {
                    file.set_owner(options.owner).map_err(rejected("owner"))?;
                }
            }
            options.change_listening(before, SockRef::from(&open.socket), self.is_inherited())?;
        }
        self.options.store(Arc::new(options.clone()));
        Ok(())
    }

    fn open(location: Location, options: SocketOptions) -> io::Result<Self> {
        let open = location.open(&options)?;
        let options = Arc::new(ArcSwap::from_pointee(options));
        Ok(Unix { socket: Mutex::new(Some(Arc::new(open))), location, options })
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
            Location::Inherited(_) => return Err(cannot_reopen()),
        };
        Ok(Open { file, socket: std::os::fd::OwnedFd::from(socket).into() })
    }
}

impl Transport for Unix {
    fn local_addr(&self) -> Address {
        Address::Unix(match &self.location {
            Location::File(path) => UnixAddress::path(path),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Location::Abstract(name) => UnixAddress::abstract_name(name),
            Location::Inherited(address) => address.clone(),
        })
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let open = self.socket.lock();
        let open =
            open.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the listener is suspended"))?;
        Ok(Box::new(UnixAccept { socket: Readiness::of(open.socket.try_clone()?)?, options: self.options.clone() }))
    }

    fn suspend(&self) -> io::Result<()> {
        if self.is_inherited() {
            return Err(cannot_reopen());
        }
        self.socket.lock().take();
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        if self.socket.lock().is_none() {
            // Outside the lock: it calls the user's hook.
            let open = self.location.open(&self.options())?;
            *self.socket.lock() = Some(Arc::new(open));
        }
        Ok(())
    }
}

struct UnixAccept {
    socket: Readiness<UnixListener>,
    options: Arc<ArcSwap<SocketOptions>>,
}

impl Accept for UnixAccept {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll(cx)
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        let (stream, peer) = self.socket.accept(|socket| socket.accept())?;
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        // Unix sockets do not inherit these options from the listening socket.
        let options = self.options.load();
        // On some systems this fails if the peer has left, which must not end the acceptor.
        let _ = options.set_buffers(&SockRef::from(&stream));
        options.call_on_accept(&stream)?;
        Ok(Accepted { stream: stream.into(), peer: Address::Unix((&peer).into()) })
    }
}
