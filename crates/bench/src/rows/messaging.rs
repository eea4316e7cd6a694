//! The rows of connections that send messages to each other.

use super::{Row, Work};
use crate::broadcast::Writes;
use crate::operator::Call;
use crate::servers::Server;
use crate::topics::Form;

const EACH_LINE: Server = Server::Broadcast(Writes::EachLine);
const ALL_LINES: Server = Server::Broadcast(Writes::AllLines);
const OURS: Server = Server::Topics(Form::Plain);

const MIB: f64 = 1024.0 * 1024.0;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "fanout-line",
        what: "CPU per member of a line of 64 B that is published to 2,000 members",
        work: Work::Fanout { members: 2_000, lines: 1 },
        ours: OURS,
        against: &[(EACH_LINE, Some(1.05)), (ALL_LINES, None)],
    },
    Row {
        name: "fanout-burst",
        what: "CPU per line and member of 100 lines that one write publishes to 2,000 members",
        work: Work::Fanout { members: 2_000, lines: 100 },
        ours: OURS,
        against: &[(ALL_LINES, Some(0.90))],
    },
    Row {
        name: "fanout-scale",
        what: "CPU per member of a line of 64 B, from 100 to 18,000 members",
        work: Work::Growth { few: 100, many: 18_000, bar: 1.00 },
        ours: OURS,
        against: &[(EACH_LINE, None)],
    },
    Row {
        name: "fanout-wakes",
        what: "wake-ups of each of 4 arbiters by a line that another thread publishes to 400 members",
        work: Work::Wakes { members: 400, bar: 1.00 },
        ours: Server::Topics(Form::Arbiters),
        against: &[],
    },
    Row {
        name: "storm",
        what: "p99 of the echo of another client while one publishes to 2,000 members, each line when the last is acknowledged",
        work: Work::Storm { members: 2_000, bar: 10e6 },
        ours: OURS,
        against: &[(ALL_LINES, None)],
    },
    Row {
        name: "slow-member-64",
        what: "resident memory per member that never reads, lines of 64 B, outbox of 1 MiB",
        work: Work::Stalled { members: 50, len: 64, bar: MIB + 65_536.0 },
        ours: Server::Topics(Form::Dropping),
        against: &[],
    },
    Row {
        name: "slow-member-4096",
        what: "the same with lines of 4 KiB",
        work: Work::Stalled { members: 50, len: 4_096, bar: MIB + 65_536.0 },
        ours: Server::Topics(Form::Dropping),
        against: &[],
    },
    Row {
        name: "membership",
        what: "resident memory per membership, 18,000 idle connections",
        work: Work::Membership { connections: 18_000, bar: 100.0 },
        ours: OURS,
        against: &[],
    },
    Row {
        name: "whereis",
        what: "time of `Pool::whereis` among 10 and among 18,000 names",
        work: Work::Constant { call: Call::Whereis, few: 10, many: 18_000, bar: 1e3, ratio: 1.5 },
        ours: Server::Operator,
        against: &[],
    },
    Row {
        name: "pubsub-redis",
        what: "CPU per member of 62 B that the example `pubsub` publishes to 1,000 members, against redis-server",
        work: Work::Fanout { members: 1_000, lines: 1 },
        ours: Server::Pubsub,
        against: &[(Server::Redis, Some(1.00))],
    },
    Row {
        name: "pubsub-redis-burst",
        what: "the same with 100 messages in one write",
        work: Work::Fanout { members: 1_000, lines: 100 },
        ours: Server::Pubsub,
        against: &[(Server::Redis, Some(1.00))],
    },
];
