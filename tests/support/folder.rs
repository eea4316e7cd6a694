//! A temporary folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn create() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("actix-acceptor-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder");
        Folder(path)
    }

    /// A path in it, where nothing is yet.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// How many files are in it.
    pub fn files(&self) -> usize {
        std::fs::read_dir(&self.0).expect("a folder").count()
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
