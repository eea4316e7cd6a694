//! The four handlers.

mod actor;
mod all;
mod async_fn;
mod cancelled;
mod events;
mod services;
mod slow_disk;
mod socket;
