//! The file of a Unix socket: whose it is, and when it goes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{lchown, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tracing::warn;

use super::SocketOptions;

/// A socket's file, by the number that nothing else has while the socket is open. Dropped before the socket it takes the
/// file along, if that is still the same one.
#[derive(Debug)]
pub(super) struct UnixFile {
    path: PathBuf,
    number: (u64, u64),
}

impl UnixFile {
    /// Binds the socket, and sets the file's mode and owner: nobody can connect before it listens.
    pub(super) fn bind(socket: &Socket, path: &Path, options: &SocketOptions) -> io::Result<Self> {
        let address = SockAddr::unix(path)?;
        let _lock = FolderLock::of(path);
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path, &address)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let file = UnixFile { path: path.to_owned(), number: number(&fs::symlink_metadata(path)?) };
        if let Some(mode) = options.mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| because("its mode", error))?;
        }
        if let Some((user, group)) = options.owner {
            lchown(path, user, group).map_err(|error| because("its owner", error))?;
        }
        // Under the lock as well: to others a file is stale as long as nobody listens.
        options.listen(socket)?;
        Ok(file)
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| number(&file) == self.number);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "the file of a Unix socket stays behind");
        }
    }
}

fn number(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes the file of a socket that nobody listens on any more; anything else is an error that says what it is.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return in_use("address in use: there is a file that is not a socket");
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(because("whether somebody listens there", error))
        }
        // Connected, or its queue is full, or it is of another type.
        _ => return in_use("address in use: somebody listens there"),
    }
    match fs::symlink_metadata(path) {
        Ok(now) if number(&now) == number(&file) => fs::remove_file(path),
        // Another one by now: the system says what it thinks of it.
        _ => Ok(()),
    }
}

/// The system's reason, and what it is the reason of.
fn because(what: &'static str, source: io::Error) -> io::Error {
    #[derive(Debug, thiserror::Error)]
    #[error("{what}: {source}")]
    struct Because {
        what: &'static str,
        source: io::Error,
    }
    io::Error::new(source.kind(), Because { what, source })
}

/// Keeps two that start at once from taking each other's file for a stale one. It needs no file of its own; where it cannot
/// be had, it is gone without.
struct FolderLock(#[allow(dead_code)] File);

impl FolderLock {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(5);

    fn of(path: &Path) -> Option<Self> {
        let folder = File::open(path.parent()?).ok()?;
        for _ in 0..Self::TRIES {
            match lock(&folder) {
                Ok(()) => return Some(FolderLock(folder)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Self::PAUSE),
                Err(_) => return None,
            }
        }
        None
    }
}

#[cfg(not(any(target_os = "solaris", target_os = "illumos")))]
fn lock(folder: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(folder, rustix::fs::FlockOperation::NonBlockingLockExclusive)?)
}

#[cfg(any(target_os = "solaris", target_os = "illumos"))]
fn lock(_: &File) -> io::Result<()> {
    Ok(())
}
