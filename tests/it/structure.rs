//! The house: each room looks only into those below it. The table is data; whoever adds an arrow must add it here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may look into, from the top of the house down.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "builder",
        &[
            "acceptor",
            "config",
            "connection",
            "error",
            "framing",
            "handlers",
            "limits",
            "listener",
            "pool",
            "registry",
            "socket",
            "telemetry",
            "watchdog",
        ],
    ),
    ("handlers", &["acceptor", "connection", "error", "framing", "panic", "pool", "socket", "telemetry"]),
    (
        "pool",
        &[
            "acceptor",
            "config",
            "connection",
            "error",
            "limits",
            "listener",
            "net",
            "panic",
            "registry",
            "telemetry",
            "watchdog",
        ],
    ),
    ("watchdog", &["registry", "telemetry"]),
    ("config", &["connection", "error", "limits", "listener", "time"]),
    ("acceptor", &["error", "handshake", "limits", "listener", "net", "registry", "socket", "telemetry"]),
    ("connection", &["error", "framing", "handshake", "net", "panic", "registry", "telemetry", "time"]),
    ("socket", &["handshake", "net", "panic", "registry", "telemetry", "time"]),
    ("listener", &["error", "handshake", "limits", "net", "panic", "registry", "telemetry"]),
    ("handshake", &["error", "net", "registry", "telemetry"]),
    ("registry", &["limits", "net", "telemetry", "time"]),
    ("limits", &["net", "panic", "telemetry", "listener"]),
    ("telemetry", &["error", "net", "panic"]),
    ("time", &[]),
    ("framing", &[]),
    ("net", &[]),
    ("error", &[]),
    ("panic", &[]),
];

/// The most lines a file may have.
const LONGEST: usize = 400;

#[test]
fn modules_import_only_what_the_table_allows() {
    for (file, text) in sources() {
        let Some(room) = room_of(&file) else { continue };
        let (_, allowed) = ALLOWED.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("new room: {room}"));
        for other in looked_into(&text) {
            assert!(other == room || allowed.contains(&other.as_str()), "{}: looks into {other}", file.display());
        }
    }
}

#[test]
fn the_allowed_imports_point_down() {
    for (at, (room, allowed)) in ALLOWED.iter().enumerate() {
        for other in *allowed {
            let below = ALLOWED.iter().position(|(name, _)| name == other).expect("a room of the house");
            assert!(below > at, "{room} is not above {other}");
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", file.display());
    }
}

/// The first segments of all paths that begin with `crate::`, but for what is re-exported at the root for users.
fn looked_into(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>())
        .filter(|room| !room.is_empty())
        .collect()
}

fn room_of(file: &Path) -> Option<String> {
    let room = file.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (room != "lib").then_some(room)
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                sources.push((path.strip_prefix(&root).expect("below the root").to_owned(), text));
            }
        }
    }
    assert!(sources.len() > 30, "the sources were not found");
    sources
}
