//! Every timeout in every state of a connection: the tables of ARCHITECTURE.md ("Timeouts in every state"), walked cell by cell.

mod cell;
mod peer_leaves;
mod socket;

use std::thread;

use actix_acceptor::telemetry::CloseReason::{self, *};

use cell::{walk, Limit, Outcome, State};

/// What a cell of the table says. Times are in milliseconds, since the state began; each timeout is a second long.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// The connection lives for an hour, and goes on working when the state is left.
    Lives,
    Ends(CloseReason, u64),
    /// The wait ends, and the connection goes on.
    Answers(u64),
}

use Expected::{Answers, Ends, Lives};

/// In the order of [`Limit::ALL`].
type Row = (State, [Expected; 9]);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    //                     handshake               idle              idle once         packet                     send                     age                  drain                 close               within
    (State::Handshaking,    [Ends(Handshake, 1_000), Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::InitWaiting,    [Ends(Handshake, 1_000), Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Answers(1_000)]),
    (State::Ready,          [Lives,                  Ends(Idle, 1_000), Ends(Idle, 1_000), Ends(PacketTimeout, 1_000), Lives,                 Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::Waiting,        [Lives,                  Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Answers(1_000)]),
    (State::ContextWaiting, [Lives,                  Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::Blocking,       [Lives,                  Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::Passive,        [Lives,                  Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::AboveMark,      [Lives,                  Lives,            Lives,            Lives,                     Ends(SendTimeout, 1_000), Ends(MaxAge, 1_500), Ends(Killed, 1_500), Ends(Local, 1_000), Lives]),
    (State::SendingFile,    [Lives,                  Lives,            Lives,            Lives,                     Ends(SendTimeout, 1_000), Ends(MaxAge, 1_500), Ends(Killed, 1_500), Ends(Local, 1_000), Lives]),
    (State::Upgrading,      [Ends(Handshake, 1_000), Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::HalfClosed,     [Lives,                  Ends(Idle, 1_000), Ends(Idle, 1_000), Lives,                   Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::Slowed,         [Lives,                  Lives,            Lives,            Lives,                     Lives,                   Ends(MaxAge, 1_000), Ends(Killed, 1_000), Ends(Local, 0),     Lives]),
    (State::Closing,        [Lives,                  Lives,            Lives,            Lives,                     Ends(SendTimeout, 1_000), Ends(MaxAge, 1_500), Ends(Killed, 1_500), Ends(Local, 1_000), Lives]),
    // Silence ends it earlier.
    (State::Lingering,      [Ends(Local, 500); 9]),
];

#[test]
fn every_timeout_does_in_every_state_what_the_table_says() {
    assert_eq!(TABLE.iter().map(|row| row.0).collect::<Vec<_>>(), State::ALL, "a row for each state");
    let mut failures = Vec::new();
    for (state, row) in TABLE {
        // At the same time, since a state that needs real time takes seconds.
        let outcomes = thread::scope(|scope| {
            let cells = Limit::ALL.into_iter().zip(row);
            let walks =
                cells.map(|(limit, expected)| scope.spawn(move || walk(*state, limit, matches!(expected, Answers(_)))));
            walks.collect::<Vec<_>>().into_iter().map(|walk| walk.join().unwrap()).collect::<Vec<_>>()
        });
        for ((limit, expected), outcome) in Limit::ALL.into_iter().zip(row).zip(outcomes) {
            // In real time, a busy machine may be late.
            let late = if *state == State::Blocking { 2_000 } else { 0 };
            if !agrees(&outcome, *expected, late) {
                failures.push(format!("{state:?} × {limit:?}: expected {expected:?}, got {outcome:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} cells fail:\n{}", failures.len(), failures.join("\n"));
}

fn agrees(outcome: &Outcome, expected: Expected, late: u64) -> bool {
    // Never early; late by a tenth, as all timeouts.
    let on_time = |took: u64, at: u64| took >= at && took <= at + (at / 10).max(10) + late;
    match (outcome, expected) {
        (Outcome::Lived, Lives) => true,
        (Outcome::Ended(reason, took), Ends(expected, at)) => *reason == expected && on_time(*took, at),
        (Outcome::Answered(took), Answers(at)) => on_time(*took, at),
        _ => false,
    }
}
