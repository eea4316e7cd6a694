//! Random numbers of a seed.

use std::ops::Range;
use std::time::Duration;

use parking_lot::Mutex;

pub(super) struct Random(Mutex<u64>);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(Mutex::new(seed))
    }

    /// A number below this one. SplitMix64.
    pub(super) fn below(&self, limit: usize) -> usize {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    pub(super) fn range(&self, range: Range<u64>) -> u64 {
        range.start + self.below((range.end - range.start) as usize) as u64
    }

    pub(super) fn one_in(&self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Sleeps for a number of milliseconds in this range.
    pub(super) async fn pause(&self, ms: Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.range(ms))).await;
    }
}
