//! The rows of shared state: an echo that counts its packets. The guide's page about shared state has these figures.

use super::{Baseline, Row, Work};
use crate::servers::Server;
use crate::shared::Home;

/// The homes of the count, against that in the connection itself.
const HOMES: &[Baseline] = &[
    (Server::Shared(Home::Arbiter), None),
    (Server::Shared(Home::Atomic), None),
    (Server::Shared(Home::Mutex), None),
    (Server::Shared(Home::Actor), None),
    (Server::Shared(Home::OtherArbiter), None),
];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "shared-16",
        what: "CPU per 64 B packet that is counted in shared state, 64 connections, 16 in flight on each",
        work: Work::Echo { in_flight: 16 },
        ours: Server::Shared(Home::Connection),
        against: HOMES,
    },
    Row {
        name: "shared-1",
        what: "the same, 1 in flight",
        work: Work::Echo { in_flight: 1 },
        ours: Server::Shared(Home::Connection),
        against: HOMES,
    },
    Row {
        name: "instructions-shared",
        what: "instructions in user space per packet, 16 in flight",
        work: Work::Instructions { in_flight: 16 },
        ours: Server::Shared(Home::Connection),
        against: HOMES,
    },
];
