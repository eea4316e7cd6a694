//! Programs of the system that tests start.

use std::process::Command;

/// A command that starts this program.
///
/// # Panics
/// Panics with the program's name if it is not installed.
#[track_caller]
pub fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(is_installed, "the program `{name}` is missing: install it to run this test");
    Command::new(name)
}
