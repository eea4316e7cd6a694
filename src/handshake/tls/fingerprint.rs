//! Whether two configurations are alike: their settings, and the content of their files.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::builder::{Identity, TlsConfig};
use super::Password;

impl TlsConfig {
    /// A hash of the settings and of the content of the files, to be compared with those of other configurations in this
    /// process. `None` if there is a hook or a user-defined configuration, or if a file cannot be read.
    pub(super) fn fingerprint(&self) -> Option<u64> {
        #[cfg(feature = "rustls-no-provider")]
        if self.on_hello.is_some() {
            return None;
        }
        let mut hash = DefaultHasher::new();
        match &self.identity {
            Identity::Missing | Identity::External => return None,
            Identity::Pair { certificates, key } => {
                (certificates.bytes().ok()?, key.bytes().ok()?).hash(&mut hash);
            }
            Identity::Pkcs12 { archive, password } => (archive.bytes().ok()?, password).hash(&mut hash),
        }
        self.key_password.as_ref().map(Password::as_bytes).hash(&mut hash);
        self.by_name.len().hash(&mut hash);
        for (name, certificates, key) in &self.by_name {
            (name, certificates.bytes().ok()?, key.bytes().ok()?).hash(&mut hash);
        }
        if let Some((policy, authorities)) = &self.clients {
            (policy, authorities.bytes().ok()?).hash(&mut hash);
        }
        (self.backend, &self.alpn, self.min_version).hash(&mut hash);
        #[cfg(feature = "watch")]
        self.watched.hash(&mut hash);
        Some(hash.finish())
    }
}
