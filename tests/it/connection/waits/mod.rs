//! Waits: what they hold back, what ends them, what bounds them.

mod writes;
