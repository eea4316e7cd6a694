//! The file of a Unix socket: ownership and removal.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{lchown, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tracing::warn;

use super::SocketOptions;

/// The file of a socket, identified by device and inode. No other file can have both while the socket is open.
///
/// Dropping it removes the file if the path still refers to it and the socket was not handed over. It must be dropped before
/// the socket.
#[derive(Debug)]
pub(super) struct UnixFile {
    path: PathBuf,
    identity: (u64, u64),
    /// The mode, owner and group with which the system created it.
    created: (u32, u32, u32),
    /// Whether another pool or process uses the socket, and thus the file.
    is_kept: AtomicBool,
}

impl UnixFile {
    /// Binds the socket, sets the mode and owner of the file, then listens: no peer can connect before that.
    pub(super) fn bind(socket: &Socket, path: &Path, options: &SocketOptions) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        let _lock = DirectoryLock::of(path);
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path, &address)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let created = fs::symlink_metadata(path)?;
        let file = UnixFile {
            path: path.to_owned(),
            identity: identity(&created),
            created: (created.mode() & 0o7777, created.uid(), created.gid()),
            is_kept: AtomicBool::new(false),
        };
        if options.mode.is_some() {
            file.set_mode(options.mode).map_err(|error| with_context("cannot set its mode", error))?;
        }
        if options.owner.is_some() {
            file.set_owner(options.owner).map_err(|error| with_context("cannot set its owner", error))?;
        }
        // Still under the lock: until the socket listens, other processes would take its file for a stale one.
        options.listen(socket)?;
        Ok(file)
    }

    /// Leaves the file to another owner of the socket.
    pub(super) fn keep(&self) {
        self.is_kept.store(true, Relaxed);
    }

    /// Sets the mode; `None` restores the one with which the system created the file.
    pub(super) fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        self.check()?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode.unwrap_or(self.created.0)))
    }

    /// Sets owner and group; for each, `None` restores the one with which the system created the file.
    pub(super) fn set_owner(&self, owner: Option<(Option<u32>, Option<u32>)>) -> io::Result<()> {
        self.check()?;
        let (user, group) = owner.unwrap_or_default();
        let now = fs::symlink_metadata(&self.path)?;
        // Setting an owner, even the same one, may require a privilege.
        let differs =
            |asked: Option<u32>, created: u32, now: u32| Some(asked.unwrap_or(created)).filter(|id| *id != now);
        let (user, group) = (differs(user, self.created.1, now.uid()), differs(group, self.created.2, now.gid()));
        lchown(&self.path, user, group)
    }

    /// Whether the path still refers to the file.
    fn check(&self) -> io::Result<()> {
        if identity(&fs::symlink_metadata(&self.path)?) == self.identity {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "another file has taken the place of the socket's file"))
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        if self.is_kept.load(Relaxed) {
            return;
        }
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the file of a Unix socket");
        }
    }
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes the file of a socket on which no process listens any more. Anything else is an error.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return in_use("address in use: the file is not a socket");
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(with_context("cannot check whether a process listens there", error))
        }
        // Connected, or its queue is full, or it is a socket of another type.
        _ => return in_use("address in use: a process listens there"),
    }
    match fs::symlink_metadata(path) {
        Ok(now) if identity(&now) == identity(&file) => fs::remove_file(path),
        // Replaced in the meantime: the next bind reports what it is.
        _ => Ok(()),
    }
}

/// Prefixes the system's error with the operation that failed.
fn with_context(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A lock on the directory, which keeps two processes that start at once from taking each other's file for a stale one.
///
/// It needs no lock file. If it cannot be obtained, the start continues without it.
struct DirectoryLock(#[allow(dead_code)] File);

impl DirectoryLock {
    const ATTEMPTS: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(5);

    fn of(path: &Path) -> Option<Self> {
        let directory = File::open(path.parent()?).ok()?;
        for _ in 0..Self::ATTEMPTS {
            match lock(&directory) {
                Ok(()) => return Some(DirectoryLock(directory)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Self::PAUSE),
                Err(_) => return None,
            }
        }
        None
    }
}

#[cfg(not(any(target_os = "solaris", target_os = "illumos")))]
fn lock(directory: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(directory, rustix::fs::FlockOperation::NonBlockingLockExclusive)?)
}

#[cfg(any(target_os = "solaris", target_os = "illumos"))]
fn lock(_: &File) -> io::Result<()> {
    Ok(())
}
