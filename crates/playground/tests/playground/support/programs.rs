//! Programs of the system that a test talks to the playground with.

use std::process::{Child, Command};

/// Starts a program. Panics with its name and with the README line to read if it is not installed.
#[track_caller]
pub fn start_program(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        panic!("cannot run the program `{program}`: {error}; README.md lists what the tests need")
    })
}
