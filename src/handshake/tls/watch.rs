//! Reloads certificates when their files change.

use std::collections::hash_map::DefaultHasher;
use std::collections::BTreeSet;
use std::error::Error;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Identity, Inner, PemSource, Tls, TlsConfig, TlsError};
use crate::error::BoxError;

/// How long the files must be unchanged before they are read. Certificate and key are seldom written at the same time.
const QUIET: Duration = Duration::from_millis(200);

/// The files are read after this time even if they keep changing.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Dropping it ends the watching thread.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

impl Tls {
    /// Starts the thread that watches the directories of the files. A watch on a file itself would not see a replacement.
    pub(super) fn start_watching(&self) -> Result<(), TlsError> {
        let files = self.0.settings.files();
        let (changed, changes) = mpsc::channel();
        let failed = |path: &Path, why: BoxError| TlsError::Content { path: path.display().to_string(), why };
        let first = files.first().cloned().unwrap_or_default();
        let on_event = move |_: notify::Result<notify::Event>| {
            // Fails only while the watcher is being dropped.
            let _ = changed.send(());
        };
        let mut watcher = notify::recommended_watcher(on_event).map_err(|error| failed(&first, error.into()))?;
        let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        for directory in directories {
            let watching = watcher.watch(directory, RecursiveMode::NonRecursive);
            watching.map_err(|error| failed(directory, error.into()))?;
        }
        let (watched, seen) = (std::sync::Arc::downgrade(&self.0), fingerprint(&files));
        let thread = thread::Builder::new().name("certificates".into());
        thread
            .spawn(move || reload_on_change(&watched, &files, seen, &changes))
            .map_err(|error| failed(&first, error.into()))?;
        let _ = self.0.watch.set(Watch { _watcher: watcher });
        Ok(())
    }
}

impl TlsConfig {
    /// All files, as absolute paths: these stay valid when the process changes its working directory.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let identity = match &self.identity {
            Identity::Missing | Identity::External => [None, None],
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
fn reload_on_change(watched: &Weak<Inner>, files: &[PathBuf], mut seen: u64, changes: &Receiver<()>) {
    while changes.recv().is_ok() {
        let latest = Instant::now() + MAX_DELAY;
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
            Ok(()) => info!(expires = ?tls.expires(), "certificates reloaded"),
            Err(error) => {
                let cause = error.source().map(tracing::field::display);
                warn!(%error, cause, "certificate reload failed; keeping the current certificates");
            }
        }
    }
}

/// A hash of the contents of the files. A file that cannot be read has no content.
fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.iter().for_each(|file| std::fs::read(file).ok().hash(&mut hasher));
    hasher.finish()
}
