//! Reloads certificates when their files change.
//!
//! ```text
//! event ─▶ quiet ─▶ watch again ─▶ contents differ? ─▶ reload ─▶ ok: wait for the next event
//!                        ▲                               └────▶ error: retry after a pause that grows ─┐
//!                        └─────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::hash_map::DefaultHasher;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::time::Instant;
use tracing::{info, warn};

use super::pem::read_file;
use super::{Identity, Inner, PemSource, Tls, TlsConfig, TlsError};
use crate::error::{with_sources, BoxError};
use crate::panic::catch_panic;

/// How long the files must be unchanged before they are read. Certificate and key are seldom written at the same time.
const QUIET: Duration = Duration::from_millis(200);

/// The files are read after this time even if they keep changing.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// The pause after a failed reload, doubled up to [`MAX_PAUSE`] until a reload succeeds.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Dropping it ends the watching thread.
pub(super) struct Watch {
    signals: Sender<Signal>,
}

enum Signal {
    Event,
    Stop,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Fails if the thread has ended by itself.
        let _ = self.signals.send(Signal::Stop);
    }
}

/// A hash of the contents of the files. A file that cannot be read has no content.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Seen(u64);

impl Seen {
    pub(super) fn of(settings: &TlsConfig) -> Self {
        // Without a watch it does not matter.
        let files = if settings.watched { settings.files() } else { Vec::new() };
        Self::of_files(&files)
    }

    fn of_files(files: &[PathBuf]) -> Self {
        let mut hasher = DefaultHasher::new();
        files.iter().for_each(|file| read_file(file).ok().hash(&mut hasher));
        Seen(hasher.finish())
    }
}

impl Watch {
    /// Starts the thread that watches the directories of the files, if that is set. A watch on a file itself would not detect
    /// that the file is replaced. `seen` is from before the files were read.
    pub(super) fn start(tls: &Tls, settings: &TlsConfig, seen: Seen) -> Result<Option<Self>, TlsError> {
        if !settings.watched {
            return Ok(None);
        }
        let files = settings.files();
        let directories: BTreeSet<PathBuf> =
            files.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        let first = directories.first().cloned().unwrap_or_default();
        let (signals, received) = mpsc::channel();
        let events = signals.clone();
        let on_event = move |_: notify::Result<notify::Event>| {
            // Fails only while the watcher is being dropped.
            let _ = events.send(Signal::Event);
        };
        let mut watcher = guarded(|| notify::recommended_watcher(on_event)).map_err(|error| failed(&first, error))?;
        for directory in &directories {
            watch_directory(&mut watcher, directory).map_err(|error| failed(directory, error))?;
        }
        let reloader = Reloader { tls: Arc::downgrade(&tls.0), files, directories, seen, watcher, signals: received };
        let thread = thread::Builder::new().name("certificates".into());
        thread.spawn(move || reloader.run()).map_err(|error| failed(&first, error.into()))?;
        // The files may have changed after `seen`, before the watch.
        let _ = signals.send(Signal::Event);
        Ok(Some(Watch { signals }))
    }
}

fn failed(directory: &Path, source: BoxError) -> TlsError {
    TlsError::Watch { path: directory.display().to_string(), source }
}

fn watch_directory(watcher: &mut RecommendedWatcher, directory: &Path) -> Result<(), BoxError> {
    guarded(|| watcher.watch(directory, RecursiveMode::NonRecursive))
}

/// Calls the library, which panics if it could not start its own thread.
fn guarded<T>(call: impl FnOnce() -> notify::Result<T>) -> Result<T, BoxError> {
    match catch_panic(call) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(format!("the watcher panicked: {panic}").into()),
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

/// The state of the watching thread.
struct Reloader {
    tls: Weak<Inner>,
    files: Vec<PathBuf>,
    directories: BTreeSet<PathBuf>,
    seen: Seen,
    watcher: RecommendedWatcher,
    signals: Receiver<Signal>,
}

impl Reloader {
    /// Runs until the [`Watch`] is dropped.
    fn run(mut self) {
        let (mut pause, mut logged) = (None, None);
        while self.wait(pause) {
            // Before the files are read, so that no later change is missed.
            self.watch_again();
            let found = Seen::of_files(&self.files);
            let is_new = found != self.seen;
            if !is_new && pause.is_none() {
                continue;
            }
            self.seen = found;
            let Some(inner) = self.tls.upgrade() else { return };
            let tls = Tls(inner);
            match tls.reload() {
                Ok(()) => {
                    (pause, logged) = (None, None);
                    info!(expires = ?tls.expires(), "certificates reloaded");
                }
                Err(error) => {
                    let grown = pause.filter(|_| !is_new).map(|pause: Duration| pause * 2);
                    pause = Some(grown.unwrap_or(FIRST_PAUSE).min(MAX_PAUSE));
                    // The same error is logged once.
                    let error = with_sources(&error);
                    if logged.as_ref() != Some(&error) {
                        warn!(error, "certificate reload failed; keeping the current certificates");
                        logged = Some(error);
                    }
                }
            }
        }
    }

    /// Waits until the files may have changed and are quiet, or until a pause is over. Returns false at the end of the watch.
    fn wait(&self, pause: Option<Duration>) -> bool {
        let signal = match pause {
            None => self.signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => self.signals.recv_timeout(pause),
        };
        match signal {
            Ok(Signal::Event) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
        let latest = Instant::now() + MAX_DELAY;
        loop {
            let quiet = QUIET.min(latest.saturating_duration_since(Instant::now()));
            match self.signals.recv_timeout(quiet) {
                Ok(Signal::Event) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// A directory that was removed is no longer watched, even if another one has been created at its path.
    fn watch_again(&mut self) {
        for directory in &self.directories {
            let _ = watch_directory(&mut self.watcher, directory);
        }
    }
}
