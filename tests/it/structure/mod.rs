//! The structure of the sources: each module (a directory or file of `src`) imports only from modules below
//! it.

mod clocks;
mod events;
mod guide;
mod imports;
mod lexer;
mod readme;
mod self_test;
mod test_names;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use imports::Tree;

/// The modules from the top down, each with those it may import from. A new import between modules is added here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("testing", &["builder", "connection", "error", "handlers", "listener", "net", "pool", "telemetry", "time"]),
    ("systemd", &["acceptor", "pool", "supervised", "telemetry"]),
    ("shutdown", &["pool", "supervised"]),
    ("supervised", &["builder", "error", "handlers", "panic", "pool"]),
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
            "pool_config",
            "registry",
            "socket",
            "telemetry",
            "thread_name",
            "time",
            "watchdog",
        ],
    ),
    ("pool_config", &["config", "error", "framing", "handshake", "listener", "pool"]),
    (
        "handlers",
        &[
            "config",
            "connection",
            "error",
            "framing",
            "handshake",
            "limits",
            "listener",
            "net",
            "panic",
            "pool",
            "registry",
            "socket",
            "telemetry",
            "time",
        ],
    ),
    (
        "pool",
        &[
            "acceptor",
            "config",
            "connection",
            "detached",
            "error",
            "framing",
            "limits",
            "listener",
            "names",
            "net",
            "panic",
            "registry",
            "socket",
            "telemetry",
            "thread_name",
            "time",
            "topics",
            "watchdog",
        ],
    ),
    ("watchdog", &["panic", "registry", "telemetry", "thread_name"]),
    ("acceptor", &["config", "error", "handshake", "limits", "listener", "net", "panic", "registry", "telemetry"]),
    (
        "connection",
        &[
            "config",
            "detached",
            "error",
            "framing",
            "handshake",
            "limits",
            "net",
            "panic",
            "registry",
            "telemetry",
            "time",
        ],
    ),
    ("socket", &["detached", "error", "handshake", "net", "panic", "registry", "telemetry", "time"]),
    ("detached", &["handshake", "net", "registry", "telemetry"]),
    (
        "listener",
        &["config", "error", "framing", "handshake", "limits", "net", "panic", "registry", "telemetry", "time"],
    ),
    ("handshake", &["error", "net", "panic", "registry", "telemetry"]),
    ("topics", &["registry", "sync", "telemetry"]),
    ("names", &["registry", "sync", "telemetry"]),
    ("registry", &["config", "framing", "limits", "net", "panic", "sync", "telemetry", "time"]),
    ("limits", &["config", "net", "panic", "telemetry"]),
    ("telemetry", &["config", "error", "net", "panic"]),
    ("config", &["error", "net", "time"]),
    ("time", &[]),
    ("net", &["panic"]),
    ("framing", &[]),
    ("error", &["panic"]),
    ("thread_name", &[]),
    ("panic", &[]),
    ("sync", &[]),
    ("reexports", &[]),
];

/// The modules of the cluster that know nothing of a node: those above them use them, and they are tested alone.
const BELOW_THE_NODE: &[&str] = &[
    "bus", "counters", "direct", "envelope", "error", "format", "lease", "names", "refusals", "runtime", "settings",
    "subject",
];

/// The modules of the cluster that are made of nodes, and what users call.
const NODES: &[&str] = &[
    "broadcast",
    "cluster",
    "connection",
    "messages",
    "naming",
    "node",
    "observer",
    "requests",
    "subscriptions",
    "topic",
];

/// The most lines a file may have.
const MAX_LINES: usize = 400;

#[test]
fn modules_import_only_what_the_table_allows() {
    let offences = offences(&Tree::new(&library()), ALLOWED);
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_allowed_imports_point_down() {
    for (at, (module, allowed)) in ALLOWED.iter().enumerate() {
        for other in *allowed {
            let below = ALLOWED.iter().position(|(name, _)| name == other).expect("a module of the table");
            assert!(below > at, "{module} is not above {other}");
        }
    }
}

#[test]
fn no_modules_import_each_other() {
    let circles = circles(&Tree::new(&library()).imports_of_modules());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn no_files_of_different_modules_import_each_other() {
    let circles = circles_across_modules(&Tree::new(&library()));
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_bus_of_the_cluster_knows_nothing_of_nodes() {
    let files = files_below(&root().join("crates/cluster/src"));
    let tree = Tree::new(&files);
    let is_below = |file: &str| BELOW_THE_NODE.contains(&file.split(['/', '.']).next().unwrap_or_default());
    let mut checked = 0;
    for (file, imported) in tree.imports_of_files().into_iter().filter(|(file, _)| is_below(file)) {
        let imported = imported.unwrap_or_else(|error| panic!("{file}: {error}"));
        let nodes: Vec<_> = imported.iter().filter(|module| NODES.contains(&module.as_str())).collect();
        assert!(nodes.is_empty(), "{file}: imports from {nodes:?}");
        checked += 1;
    }
    assert!(checked > BELOW_THE_NODE.len(), "the sources were not found");
}

#[test]
fn no_file_is_too_long() {
    let folders = ["src", "tests", "examples", "benches", "crates"];
    for (file, text) in folders.iter().flat_map(|folder| sources(&root().join(folder))) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
}

/// The imports that the table does not allow.
fn offences(tree: &Tree, allowed: &[(&str, &[&str])]) -> Vec<String> {
    let mut offences = Vec::new();
    for (file, imported) in tree.imports_of_files() {
        let module = file.split(['/', '.']).next().expect("a first segment");
        let allowed = allowed.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        match (imported, allowed) {
            (Err(error), _) => offences.push(format!("{file}: {error}")),
            (_, None) => offences.push(format!("{file}: {module} is not in the table")),
            (Ok(imported), Some(allowed)) => {
                let forbidden = imported.iter().filter(|module| !allowed.contains(&module.as_str()));
                offences.extend(forbidden.map(|module| format!("{file}: imports from {module}")));
            }
        }
    }
    offences
}

/// Files that import each other, directly or not, and are not all of one module.
fn circles_across_modules(tree: &Tree) -> Vec<BTreeSet<String>> {
    let modules = |circle: &BTreeSet<String>| -> usize {
        let modules: BTreeSet<_> = circle.iter().map(|file| file.split(['/', '.']).next()).collect();
        modules.len()
    };
    circles(&tree.files_of_files()).into_iter().filter(|circle| modules(circle) > 1).collect()
}

/// The largest sets of nodes in which each reaches every other one.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|node| (node, reachable(graph, node))).collect();
    let circle = |node: &String| -> BTreeSet<String> {
        let returns = |other: &&String| reach.get(other).is_some_and(|reached| reached.contains(node));
        reach[node].iter().filter(returns).cloned().collect()
    };
    let circles: BTreeSet<_> = graph.keys().map(circle).filter(|circle| circle.len() > 1).collect();
    circles.into_iter().collect()
}

fn reachable(graph: &BTreeMap<String, BTreeSet<String>>, start: &String) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(node) = open.pop() {
        for next in graph.get(node).into_iter().flatten() {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    reached
}

/// The library's files by their paths below `src`, without the guide, which contains no code.
fn library() -> Vec<(String, String)> {
    let files = files_below(&root().join("src")).into_iter();
    let library: Vec<_> = files.filter(|(file, _)| !file.starts_with("guide/")).collect();
    assert!(library.len() > 30, "the sources were not found");
    library
}

/// The files in a folder by their paths below it.
fn files_below(folder: &Path) -> Vec<(String, String)> {
    let below = |file: &Path| file.strip_prefix(folder).expect("below it").to_str().expect("UTF-8").to_owned();
    sources(folder).into_iter().map(|(file, text)| (below(&file), text)).collect()
}

/// The repository's root: the next folder upwards with the library's sources.
fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().find(|folder| folder.join("src/acceptor").is_dir()).expect("a folder with src/acceptor")
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let (mut folders, mut sources) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                sources.push((path, text));
            }
        }
    }
    sources
}
