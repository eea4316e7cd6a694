//! One clock: only the watchdog, whose thread has no runtime, reads the clock of std.

use super::library;

#[test]
fn only_the_watchdog_reads_the_clock_of_std() {
    let mut offences = Vec::new();
    for (file, text) in library().into_iter().filter(|(file, _)| file != "watchdog.rs") {
        let lines = text.lines().map(|line| line.trim_start()).filter(|line| !line.starts_with("//"));
        let code: String = lines.flat_map(|line| [line, "\n"]).collect();
        let names = imported_from_std_time(&code);
        offences.extend(names.iter().filter(|name| is_clock(name)).map(|name| format!("{file}: std::time::{name}")));
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    let watchdog = library().into_iter().find(|(file, _)| file == "watchdog.rs").expect("the watchdog").1;
    assert!(imported_from_std_time(&watchdog).iter().any(|name| is_clock(name)), "the check sees nothing");
}

/// A name that is, or may hide, the clock of std.
fn is_clock(name: &str) -> bool {
    ["Instant", "*", "self", ""].contains(&name)
}

/// What follows each `std::time`: the names in braces, or the one name. Empty if the module itself is named.
fn imported_from_std_time(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for rest in code.split("std::time").skip(1) {
        match rest.strip_prefix("::") {
            Some(list) if list.starts_with('{') => {
                names.extend(list[1..].split('}').next().unwrap_or_default().split(',').map(str::trim));
            }
            Some(name) => {
                names.push(name.split(|next: char| !next.is_alphanumeric() && next != '*').next().unwrap_or(""))
            }
            None => names.push(""),
        }
    }
    names
}
