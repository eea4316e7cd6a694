//! The number of connections that the limit of open files allows.

/// Descriptors that are reserved for the rest of the program.
#[cfg(unix)]
const RESERVED: u64 = 16;
/// How many of those held peers may use.
pub(super) const HELD_OF_RESERVED: usize = 8;
/// How many of those refused peers may use until their refusal message has arrived.
pub(super) const LINGERING_OF_RESERVED: usize = 4;
/// Descriptors that an acceptor on its own arbiter opens: the selector, its waker, and the handle of a listener.
#[cfg(unix)]
const PER_ACCEPTOR: u64 = 4;

/// The number of connections that can be opened in addition to the open descriptors and those that `acceptors` acceptors
/// need. `None` if the system has no known limit.
#[cfg(unix)]
pub(crate) fn available_descriptors(acceptors: usize) -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    // The directory itself is open while it is read.
    let open = std::fs::read_dir(directory).map_or(16, |open| open.count().saturating_sub(1)) as u64;
    let used = open + PER_ACCEPTOR * acceptors as u64 + RESERVED;
    Some(usize::try_from(limit.saturating_sub(used)).unwrap_or(usize::MAX).max(1))
}

#[cfg(not(unix))]
pub(crate) fn available_descriptors(_: usize) -> Option<usize> {
    None
}
