//! Who gets in, and who does not: the limit on connections, limits per peer, rates, rules; all counts are exact.

mod at_limit;
mod census;
mod changes;
mod hold;
mod listeners;
mod never_lost;
mod overload;
mod peers;
mod rates;
