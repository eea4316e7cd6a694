//! Limits: connections, peers, rates, rules; all counts are exact.

mod at_limit;
mod changes;
mod counting;
mod hold;
mod hold_rate;
mod listeners;
mod overload;
mod peers;
mod permits;
mod rates;
mod refuse_with;
