//! Who gets in, and who does not: the limit on connections, limits per peer, rates, rules; all counts are exact.

mod at_limit;
mod changes;
mod counting;
mod hold;
mod listeners;
mod overload;
mod peers;
mod permits;
mod rates;
