//! The packet rate of a connection that the library does not drive.

use std::time::Duration;

use actix_acceptor::limits::Rate;
use tokio::time::Instant;

/// A token bucket, full at the start. Each packet takes a token.
#[derive(Debug)]
pub struct Tokens {
    /// The time in which one token is added.
    refill: Duration,
    /// The time in which an empty bucket fills.
    capacity: Duration,
    full_at: Instant,
}

impl Tokens {
    pub fn new(rate: Rate) -> Self {
        let refill = rate.per / rate.burst.max(1);
        Tokens { refill, capacity: refill * rate.burst, full_at: Instant::now() }
    }

    pub fn take(&mut self) {
        let full_at = self.full_at.max(Instant::now());
        self.full_at = full_at.checked_add(self.refill).unwrap_or(full_at);
    }

    /// When there is a token. `None`: now.
    pub fn next(&self) -> Option<Instant> {
        let next = self.full_at.checked_add(self.refill)?.checked_sub(self.capacity)?;
        Some(next).filter(|next| *next > Instant::now())
    }
}
