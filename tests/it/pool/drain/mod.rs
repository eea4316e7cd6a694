//! The end of a pool, phase by phase: what each peer gets, what is counted, and when.

mod deadline;
mod flood;
mod forced;
mod phases;
mod queue;
mod report;
