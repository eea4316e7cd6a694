//! The row of the dashboard. Its documentation has these figures.

use super::{Row, Work};
use crate::servers::Server;

pub(super) const ROWS: &[Row] = &[Row {
    name: "dashboard",
    what: "CPU of a server with 18,000 connections and 40,000 packets a second on one core: with a dashboard, with a viewer",
    work: Work::Dashboard { connections: 18_000, packets: 40_000, bar: 1.02 },
    ours: Server::Dashboard,
    against: &[],
}];
