//! How many connections the limit of open files leaves room for.

/// Descriptors that stay free for the rest of the program.
#[cfg(unix)]
const SPARE: u64 = 16;
/// What an acceptor on an arbiter of its own opens: its selector and the waker of that, and its share of a listener.
#[cfg(unix)]
const PER_ACCEPTOR: u64 = 4;

/// How many connections can be open at once, beside what is open now and what so many acceptors will open; `None`: the
/// system sets no limit that we know of.
#[cfg(unix)]
pub(crate) fn room_for_descriptors(acceptors: usize) -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    // The folder itself is open while it is read.
    let open = std::fs::read_dir(folder).map_or(16, |open| open.count().saturating_sub(1)) as u64;
    let used = open + PER_ACCEPTOR * acceptors as u64 + SPARE;
    Some(usize::try_from(limit.saturating_sub(used)).unwrap_or(usize::MAX).max(1))
}

#[cfg(not(unix))]
pub(crate) fn room_for_descriptors(_: usize) -> Option<usize> {
    None
}
