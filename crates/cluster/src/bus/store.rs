//! Key-value buckets with compare-and-set: of JetStream, or in the memory of this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::BoxError;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::kv::UpdateErrorKind;
use async_nats::jetstream::stream::{self, DeleteMessageErrorKind, DiscardPolicy};
use async_nats::jetstream::{self, kv, ErrorCode};
use bytes::Bytes;
use futures::TryStreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::nats::Link;
use crate::ConnectError;

/// A bucket. A revision belongs to one value of one key, and later values have higher revisions.
pub(crate) enum Store {
    Local(LocalStore),
    Nats(Box<NatsBucket>),
    #[cfg(test)]
    Faulty(crate::simulation::FaultyStore),
}

/// A bucket of JetStream. Its operations end when the connection is lost.
pub(crate) struct NatsBucket {
    store: kv::Store,
    link: Arc<Link>,
}

/// The value of a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The key has another revision, or has a value and should have none.
    #[error("the key was changed by another node")]
    Conflict,
    #[error(transparent)]
    Unavailable(BoxError),
}

/// What a bucket needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketOptions {
    /// Values disappear after this time, unless they are updated.
    pub(crate) ttl: Option<Duration>,
    /// How many servers of a NATS cluster keep the bucket.
    pub(crate) replicas: usize,
}

/// How long the list of keys may take.
const KEYS_WITHIN: Duration = Duration::from_secs(15);

impl Store {
    /// The value of a key, as the server that decides about changes has it.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match self {
            Store::Local(local) => Ok(local.get(key)),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.get(key).await,
            Store::Nats(bucket) => {
                let entry = bucket.during(bucket.store.entry(key)).await?.map_err(unavailable)?;
                Ok(entry.map(|entry| Entry { value: entry.value, revision: entry.revision }))
            }
        }
    }

    /// All keys that have a value.
    pub(crate) async fn keys(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Store::Local(local) => Ok(local.keys()),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.keys().await,
            Store::Nats(bucket) => {
                // The bucket's own list needs a consumer, which never ends while keys are updated.
                let prefix = &bucket.store.prefix;
                let keys = async {
                    let subjects = bucket.store.stream.info_with_subjects(format!("{prefix}>")).await;
                    let keys = subjects.map_err(unavailable)?.map_ok(|(subject, _)| subject[prefix.len()..].to_owned());
                    keys.try_collect().await.map_err(unavailable)
                };
                // A server with a damaged bucket may give one page after the other, without an end.
                let keys = tokio::time::timeout(KEYS_WITHIN, bucket.during(keys)).await;
                keys.map_err(|_| unavailable("the server did not list the keys in time"))??
            }
        }
    }

    /// Sets the value of a key that has this revision; 0 stands for no value. Returns the new revision.
    pub(crate) async fn set(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, StoreError> {
        match self {
            Store::Local(local) => local.set(key, value, revision),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.set(key, value, revision).await,
            Store::Nats(bucket) => {
                let updated = bucket.during(bucket.store.update(key, value, revision)).await?;
                updated.map_err(|error| match error.kind() {
                    UpdateErrorKind::WrongLastRevision => StoreError::Conflict,
                    _ => unavailable(error),
                })
            }
        }
    }

    /// Removes a value. Has no effect if the key has another revision by now.
    pub(crate) async fn remove(&self, key: &str, revision: u64) -> Result<(), StoreError> {
        match self {
            Store::Local(local) => {
                local.remove(key, revision);
                Ok(())
            }
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.remove(key, revision).await,
            // The message itself: a marker of the deletion would stay.
            Store::Nats(bucket) => {
                let removed = bucket.during(bucket.store.stream.delete_message(revision)).await?;
                let Err(error) = removed else { return Ok(()) };
                // The server has several errors for a message that is gone, and others.
                let is_refused = matches!(error.kind(), DeleteMessageErrorKind::JetStream(_));
                if is_refused && self.get(key).await?.is_none_or(|entry| entry.revision != revision) {
                    return Ok(());
                }
                Err(unavailable(error))
            }
        }
    }
}

impl NatsBucket {
    async fn during<T>(&self, operation: impl Future<Output = T>) -> Result<T, StoreError> {
        self.link.during(operation).await.map_err(unavailable)
    }
}

fn unavailable(error: impl Into<BoxError>) -> StoreError {
    StoreError::Unavailable(error.into())
}

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketError {
    #[error("the server has no JetStream: {0}")]
    NoJetStream(#[source] BoxError),
    /// It was made by a node with other settings.
    #[error("the bucket {bucket} has {found}, and this node has {configured} ({setting})")]
    Mismatch { bucket: String, setting: &'static str, found: String, configured: String },
    #[error(transparent)]
    Other(BoxError),
}

impl BucketError {
    /// The error of a node that cannot start.
    pub(crate) fn into_connect_error(self, servers: String) -> ConnectError {
        match self {
            BucketError::NoJetStream(source) => ConnectError::NoJetStream { servers, source },
            BucketError::Mismatch { bucket, setting, found, configured } => {
                ConnectError::Mismatch { bucket, setting, found, configured }
            }
            BucketError::Other(source) => ConnectError::Unusable { servers, source },
        }
    }

    fn of_ttl(bucket: &str, found: Option<Duration>, configured: Option<Duration>) -> Result<(), Self> {
        if found == configured {
            return Ok(());
        }
        let text = |ttl: Option<Duration>| ttl.map_or("no TTL".to_owned(), |ttl| format!("a TTL of {ttl:?}"));
        let (found, configured) = (text(found), text(configured));
        Err(BucketError::Mismatch { bucket: bucket.to_owned(), setting: "ttl", found, configured })
    }
}

impl From<CreateStreamError> for BucketError {
    fn from(error: CreateStreamError) -> Self {
        let is_missing = match error.kind() {
            CreateStreamErrorKind::JetStreamUnavailable => true,
            CreateStreamErrorKind::JetStream(error) => {
                [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT]
                    .contains(&error.error_code())
            }
            _ => false,
        };
        if is_missing {
            BucketError::NoJetStream(error.into())
        } else {
            BucketError::Other(error.into())
        }
    }
}

/// The bucket of this name, made if there is none.
/// The first context is for making it, the second one for its use.
pub(super) async fn nats_bucket(
    (make, use_it): &(jetstream::Context, jetstream::Context),
    link: &Arc<Link>,
    name: &str,
    options: BucketOptions,
) -> Result<Store, BucketError> {
    let config = stream::Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_age: options.ttl.unwrap_or_default(),
        num_replicas: options.replicas,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        // Every read is answered by the leader, which has all changes.
        allow_direct: false,
        ..stream::Config::default()
    };
    let found = make.get_or_create_stream(config).await?.cached_info().config.clone();
    BucketError::of_ttl(name, Some(found.max_age).filter(|age| !age.is_zero()), options.ttl)?;
    if found.num_replicas != options.replicas {
        let text = |replicas| format!("{replicas} replicas");
        let (found, configured) = (text(found.num_replicas), text(options.replicas));
        return Err(BucketError::Mismatch { bucket: name.to_owned(), setting: "replicas", found, configured });
    }
    let store = use_it.get_key_value(name).await.map_err(|error| BucketError::Other(error.into()))?;
    Ok(Store::Nats(Box::new(NatsBucket { store, link: link.clone() })))
}

/// Checks that a bucket in the memory of this process has this TTL.
pub(super) fn check_local(name: &str, store: &Store, ttl: Duration) -> Result<(), BucketError> {
    match store {
        Store::Local(local) => BucketError::of_ttl(name, local.ttl, Some(ttl)),
        _ => Ok(()),
    }
}

/// A bucket that the nodes of one process share.
#[derive(Clone)]
pub(crate) struct LocalStore {
    contents: Arc<Mutex<Contents>>,
    ttl: Option<Duration>,
}

#[derive(Default)]
struct Contents {
    values: HashMap<String, (Entry, Instant)>,
    last_revision: u64,
}

impl LocalStore {
    pub(crate) fn new(ttl: Option<Duration>) -> Self {
        LocalStore { contents: Arc::default(), ttl }
    }

    fn is_alive(&self, since: Instant) -> bool {
        self.ttl.is_none_or(|ttl| since.elapsed() < ttl)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let contents = self.contents.lock();
        let (entry, since) = contents.values.get(key)?;
        self.is_alive(*since).then(|| entry.clone())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let contents = self.contents.lock();
        let alive = contents.values.iter().filter(|(_, (_, since))| self.is_alive(*since));
        let mut keys: Vec<_> = alive.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    pub(crate) fn set(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, StoreError> {
        let mut contents = self.contents.lock();
        let alive = contents.values.get(key).filter(|(_, since)| self.is_alive(*since));
        if alive.map_or(0, |(entry, _)| entry.revision) != revision {
            return Err(StoreError::Conflict);
        }
        contents.last_revision += 1;
        let revision = contents.last_revision;
        contents.values.insert(key.to_owned(), (Entry { value, revision }, Instant::now()));
        Ok(revision)
    }

    pub(crate) fn remove(&self, key: &str, revision: u64) {
        let mut contents = self.contents.lock();
        if contents.values.get(key).is_some_and(|(entry, _)| entry.revision == revision) {
            contents.values.remove(key);
        }
    }
}
