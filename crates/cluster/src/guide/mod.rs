//! Pages about subjects that concern several items.
//!
//! | page | answers |
//! |---|---|
//! | [`operating`] | what does `nats-server` need, what happens while it is away, and which permissions does a node need? |
//! | [`guarantees`] | what holds while nodes and servers crash, stall, or cannot reach each other, and what does not? |
//! | [`message_types`] | how do types of messages change while two versions run, and how is the format replaced? |
//! | [`sizing`] | what does a cluster cost, what do 1,000,000 connections on 50 nodes need, and how are topics split? |

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("message_types.md")]
pub mod message_types {}

#[doc = include_str!("sizing.md")]
pub mod sizing {}
