//! The rows of a cluster of nodes on one nats-server. The sizing page of the cluster's documentation has these figures.

use super::{Row, Work};
use crate::cluster::{Measure, Program};
use crate::servers::Server;

const OURS: Server = Server::Cluster(Program::Node);

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "cluster-publish",
        what: "lines of 64 B a second that one node publishes to 3 others with 1,000 members each, against async-nats and tokio",
        work: Work::Cluster(Measure::Publish { members: 1_000, lines: 200, counts: false, bar: Some(0.80) }),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-path",
        what: "the same with 1 member on each node",
        work: Work::Cluster(Measure::Publish { members: 1, lines: 40_000, counts: false, bar: Some(0.60) }),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-counted",
        what: "the same, against subscribers of async-nats that have no member and only count",
        work: Work::Cluster(Measure::Publish { members: 1, lines: 40_000, counts: true, bar: None }),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-instructions",
        what: "instructions in user space per line: of the publisher, and of a node with 1 member against one that counts",
        work: Work::Cluster(Measure::Instructions { publisher: 2.1, node: 2.1 }),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-latency",
        what: "time from a publish to a member of another node, one line every 2 ms",
        work: Work::Cluster(Measure::Latency),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-names",
        what: "calls a second, against the calls of async-nats that they consist of",
        work: Work::Cluster(Measure::Names),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-idle",
        what: "CPU time of 3 idle nodes, TTL 15 s",
        work: Work::Cluster(Measure::Idle),
        ours: OURS,
        against: &[],
    },
    Row {
        name: "cluster-memory",
        what: "memory of a node with 20,000 topics and 20,000 names, and the time to subscribe",
        work: Work::Cluster(Measure::Memory { topics: 20_000, names: 20_000 }),
        ours: OURS,
        against: &[],
    },
];
