//! [`Latest`], the numbers of a pool, read once a second for all who need them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_acceptor::info::PoolInfo;
use parking_lot::Mutex;

/// After this time, numbers are read again.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The numbers that were read last.
#[derive(Default)]
pub(crate) struct Latest(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With the time at which reading them began.
    read: Option<(Instant, Arc<PoolInfo>)>,
    acted: Option<Instant>,
}

impl Latest {
    /// Reads the numbers, which takes time for each connection, and keeps them. No lock is held meanwhile.
    pub(crate) fn read(&self, read: impl FnOnce() -> PoolInfo) -> Arc<PoolInfo> {
        let began = Instant::now();
        let info = Arc::new(read());
        let mut kept = self.0.lock();
        if kept.read.as_ref().is_none_or(|(other, _)| *other < began) {
            kept.read = Some((began, info.clone()));
        }
        info
    }

    /// The numbers, at most a second old, and read since the last action.
    pub(crate) fn get(&self, read: impl FnOnce() -> PoolInfo) -> Arc<PoolInfo> {
        let recent = {
            let kept = self.0.lock();
            let is_recent = |began: &Instant| began.elapsed() <= MAX_AGE && kept.acted.is_none_or(|at| at < *began);
            kept.read.as_ref().filter(|(began, _)| is_recent(began)).map(|(_, info)| info.clone())
        };
        recent.unwrap_or_else(|| self.read(read))
    }

    /// Records that a viewer has acted, so that the numbers that it asks for next include the result.
    pub(crate) fn acted(&self) {
        self.0.lock().acted = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[actix_rt::test]
    async fn numbers_are_read_again_when_they_are_old_or_a_viewer_acted() {
        let pool = actix_acceptor::AcceptorPool::with_fn(|_: actix_acceptor::Socket| async {});
        let pool = pool.acceptors(1).bind("127.0.0.1:0").await.expect("it starts");
        let (latest, reads) = (Latest::default(), Cell::new(0));
        let get = || {
            latest.get(|| {
                reads.set(reads.get() + 1);
                pool.info()
            });
            reads.get()
        };
        assert_eq!((get(), get()), (1, 1));
        latest.acted();
        assert_eq!((get(), get()), (2, 2));
        latest.0.lock().read.as_mut().expect("it was read").0 -= MAX_AGE * 2;
        assert_eq!((get(), get()), (3, 3));
        // Numbers whose reading began before an action do not become the latest ones.
        latest.read(|| {
            latest.acted();
            pool.info()
        });
        assert_eq!(get(), 4);
        pool.stop(None).await;
    }
}
