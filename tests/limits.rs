//! Who gets in, and who does not: the limit on connections, limits per peer, rates, rules; all counts are exact.

#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "limits/at_limit.rs"]
mod at_limit;
#[path = "limits/census.rs"]
mod census;
#[path = "limits/changes.rs"]
mod changes;
#[path = "limits/hold.rs"]
mod hold;
#[path = "limits/listeners.rs"]
mod listeners;
#[path = "limits/never_lost.rs"]
mod never_lost;
#[path = "limits/overload.rs"]
mod overload;
#[path = "limits/peers.rs"]
mod peers;
#[path = "limits/rates.rs"]
mod rates;
mod support;
