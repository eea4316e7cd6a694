//! The versions that the documents state are those of Cargo.toml, and the packages of the public API are exported.

use std::collections::BTreeMap;

use super::root;

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).expect("a file of the repository")
}

/// The version that Cargo.toml states for a key of the workspace, or requires of a package.
fn stated(manifest: &str, key: &str) -> String {
    let package = |line: &&str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "));
    let lines = manifest.lines().filter(package).filter(|line| line.contains('"'));
    let mut versions = lines.filter_map(|line| match line.split_once("version = \"") {
        Some((_, version)) => version.split('"').next(),
        None => line.split('"').nth(1),
    });
    versions.rfind(|version| version.starts_with(char::is_numeric)).unwrap_or_else(|| panic!("no {key}")).to_owned()
}

/// What Cargo holds to be compatible: `1` for 1.2.3, `0.2` for 0.2.3.
fn compatible(version: &str) -> String {
    let parts: Vec<_> = version.split('.').collect();
    parts[..if parts[0] == "0" { 2 } else { 1 }].join(".")
}

/// The table of versions that go together: the packages, and the newest row of versions.
fn table() -> BTreeMap<String, String> {
    let page = read("src/guide/versions.md");
    let mut rows =
        page.lines().skip_while(|line| !line.starts_with("| `actix-acceptor`")).take_while(|line| line.len() > 1);
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let header = cells(rows.next().expect("the table"));
    let newest = cells(rows.nth(1).expect("a row"));
    header.into_iter().zip(newest).collect()
}

#[test]
fn the_table_of_versions_is_that_of_cargo_toml() {
    let manifest = read("Cargo.toml");
    for (package, version) in table() {
        let expected = match &*package {
            "actix-acceptor" => compatible(&stated(&manifest, "version")),
            "Rust" => stated(&manifest, "rust-version"),
            package => compatible(&stated(&manifest, package)),
        };
        assert_eq!(version, expected, "{package}");
    }
}

#[test]
fn every_public_dependency_is_exported_and_has_a_version() {
    let (source, page) = (read("src/reexports.rs"), read("src/guide/versions.md"));
    let names = source.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let names = names.flat_map(|names| names.trim_matches(['{', '}']).split(", "));
    let exported: Vec<_> = names.map(|name| name.replace('_', "-")).collect();
    let table = table();
    for package in &exported {
        assert!(table.contains_key(package), "{package} is not in the table of versions");
        assert!(page.contains(&format!("| `{package}` | ")), "{package} is not in the table of public dependencies");
    }
    assert_eq!(exported.len() + 2, table.len(), "besides this crate and Rust, the table has {exported:?}");
}

#[test]
fn the_documents_state_the_minimum_version_of_rust() {
    let minimum = stated(&read("Cargo.toml"), "rust-version");
    for (file, sentence) in
        [("README.md", "Rust MINIMUM or newer"), ("src/guide/versions.md", "compiles with Rust MINIMUM and newer")]
    {
        let sentence = sentence.replace("MINIMUM", &minimum);
        assert!(read(file).contains(&sentence), "{file} does not say: {sentence}");
    }
}
