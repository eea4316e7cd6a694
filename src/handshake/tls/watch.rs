//! Certificates that are read again when their files change.

use std::collections::hash_map::DefaultHasher;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Weak;
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{info, warn};

use super::{Identity, Inner, PemSource, Tls, TlsConfig, TlsError};
use crate::error::BoxError;

/// A certificate and its key are seldom written at once: it is read when there was quiet for so long,
const QUIET: Duration = Duration::from_millis(200);

/// but not later than this.
const LATEST: Duration = Duration::from_secs(2);

/// Dropped, it watches no more.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Tls {
    /// Folders are watched, for a file that is replaced is another one.
    pub(super) fn start_watching(&self) -> Result<(), TlsError> {
        let files = self.0.settings.files();
        let (changed, changes) = mpsc::channel();
        let refused = |path: &Path, why: BoxError| TlsError::Content { path: path.display().to_string(), why };
        let first = files.first().cloned().unwrap_or_default();
        let tell = move |_: notify::Result<notify::Event>| {
            // When nobody listens any more it is about to be dropped.
            let _ = changed.send(());
        };
        let mut watcher = notify::recommended_watcher(tell).map_err(|error| refused(&first, error.into()))?;
        let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        for folder in folders {
            let watching = watcher.watch(folder, RecursiveMode::NonRecursive);
            watching.map_err(|error| refused(folder, error.into()))?;
        }
        let (watched, seen) = (std::sync::Arc::downgrade(&self.0), fingerprint(&files));
        let thread = thread::Builder::new().name("certificates".into());
        thread
            .spawn(move || look_after(&watched, &files, seen, &changes))
            .map_err(|error| refused(&first, error.into()))?;
        let _ = self.0.watch.set(Watch { _watcher: watcher });
        Ok(())
    }
}

impl TlsConfig {
    /// Every file that it is read from, by a path that holds wherever the process goes.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let identity = match &self.identity {
            Identity::Missing | Identity::Given => [None, None],
            Identity::Pair { certificates, key } => [Some(certificates), Some(key)],
            Identity::Pkcs12 { archive, .. } => [Some(archive), None],
        };
        let by_name = self.by_name.iter().flat_map(|(_, certificates, key)| [certificates, key]);
        let clients = self.clients.iter().map(|(_, authorities)| authorities);
        let sources = identity.into_iter().flatten().chain(by_name).chain(clients);
        sources.filter_map(PemSource::path).filter_map(|path| std::path::absolute(path).ok()).collect()
    }
}

/// Runs until the watcher is dropped.
fn look_after(watched: &Weak<Inner>, files: &[PathBuf], mut seen: u64, changes: &Receiver<()>) {
    while changes.recv().is_ok() {
        let latest = Instant::now() + LATEST;
        loop {
            let quiet = QUIET.min(latest.saturating_duration_since(Instant::now()));
            match changes.recv_timeout(quiet) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let found = fingerprint(files);
        if found == seen {
            continue;
        }
        seen = found;
        let Some(inner) = watched.upgrade() else { return };
        let tls = Tls(inner);
        match tls.reload() {
            Ok(()) => info!(expires = ?tls.expires(), "the certificates have changed"),
            Err(error) => warn!(%error, "the certificates have changed and are no good: the old ones stay"),
        }
    }
}

/// What is in the files; one that cannot be read counts as empty.
fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.iter().for_each(|file| std::fs::read(file).ok().hash(&mut hasher));
    hasher.finish()
}
