//! The settings of a pool as plain values: each with its unit, its default, and when a change takes effect.
//!
//! The builder fills [`Settings`] in, [`validate`] checks them, and the pool derives from them what its acceptors and
//! connections read. A [`SettingsPatch`] changes some of them, which [`Changed`] reports.

mod active;
mod at_limit;
mod at_rate;
mod backlog_policy;
mod changed;
#[cfg(feature = "serde")]
mod choice;
mod description;
mod drain;
mod fields;
#[cfg(feature = "serde")]
mod format;
mod packet_rate;
mod peer_prefix;
mod rate;
mod refuse_with;
#[cfg(feature = "serde")]
pub(crate) mod representation;
mod rules;
mod settings;
mod slow_consumer;
mod snapshot;
mod suspend_mode;
mod validate;
mod value;

pub use active::Active;
pub use at_limit::AtLimit;
pub use at_rate::AtRate;
pub use backlog_policy::BacklogPolicy;
pub use changed::{Changed, SettingChange};
pub use description::{SettingDescription, SettingUnit, TakesEffect};
pub use drain::DrainConfig;
#[cfg(feature = "serde")]
pub(crate) use format::deserialize_unnamed;
pub use packet_rate::{OverRate, PacketRate};
pub use peer_prefix::PeerPrefix;
pub use rate::{ParseRateError, Rate};
pub use refuse_with::RefuseWith;
pub(crate) use rules::is_allowed;
pub use rules::{ParseRuleError, Rule};
pub use settings::{Settings, SettingsPatch};
pub use slow_consumer::SlowConsumer;
pub(crate) use snapshot::{Config, SharedConfig};
pub use suspend_mode::SuspendMode;
pub(crate) use validate::valid_rate;
