//! Pages about topics that span several items.
//!
//! | page | contents |
//! |---|---|
//! | [`operating`] | how to set up `nats-server`, what happens while it is unavailable, and which permissions a node needs |
//! | [`guarantees`] | what is guaranteed, and what is not, when nodes and servers crash, stall, or cannot reach each other |
//! | [`message_types`] | how to change message types while two versions are running, and how to replace the format |
//! | [`sizing`] | what a cluster costs, what 1,000,000 connections on 50 nodes need, and how to split topics |

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("message_types.md")]
pub mod message_types {}

#[doc = include_str!("sizing.md")]
pub mod sizing {}
