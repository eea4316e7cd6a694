//! The guide: each page is shown, tested and listed, and its links to sections lead to one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{root, MAX_LINES};

/// What a code block may be: Rust that is run, Rust that is only compiled, or no Rust.
const BLOCKS: &[&str] = &["", "no_run", "compile_fail", "text", "sh", "toml", "json", "erlang", "elixir"];

/// The pages by their names, without the index.
fn pages() -> BTreeMap<String, String> {
    let files = fs::read_dir(root().join("src/guide")).expect("the guide").map(|entry| entry.expect("an entry").path());
    let pages = files.filter(|file| file.extension().is_some_and(|end| end == "md"));
    let name = |file: &std::path::Path| file.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
    pages.map(|file| (name(&file), fs::read_to_string(&file).expect("a page"))).collect()
}

/// The lines of a page that are not in code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let fence = line.starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The ids that rustdoc gives to the headings of a page.
fn sections(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let id = |heading: &str| {
        let letters = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        letters.map(|char| if char == ' ' { '-' } else { char.to_ascii_lowercase() }).collect()
    };
    headings.map(id).collect()
}

/// The links of a page to sections, as the page, empty for its own, and the section.
fn links(page: &str) -> Vec<(String, String)> {
    let targets = prose(page).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    let sections = targets.filter(|target| !target.contains("://")).filter_map(|target| target.split_once('#'));
    sections.map(|(page, section)| (page.to_owned(), section.to_owned())).collect()
}

#[test]
fn every_page_of_the_guide_is_shown_tested_and_listed() {
    let (pages, read) = (pages(), |file: &str| fs::read_to_string(root().join(file)).expect("a source"));
    let (shown, tested) = (read("src/guide/mod.rs"), read("crates/guide/src/lib.rs"));
    for name in pages.keys().filter(|name| *name != "index") {
        let entry = format!("page!({name}, \"{name}.md\")");
        assert!(shown.contains(&entry), "src/guide/mod.rs has no {entry}");
        assert!(tested.contains(&entry), "crates/guide/src/lib.rs has no {entry}");
        assert!(pages["index"].contains(&format!("]({name})")), "src/guide/index.md has no link to {name}");
    }
}

#[test]
fn the_index_of_the_guide_has_a_link_for_each_task() {
    let index = &pages()["index"];
    let tasks = index.split("# By task").nth(1).expect("the tasks").lines().filter(|line| line.starts_with("| "));
    let tasks: Vec<_> = tasks.filter(|line| !line.starts_with("| I want to |")).collect();
    assert!(tasks.len() >= 40, "{} tasks", tasks.len());
    let mut seen = BTreeSet::new();
    for task in tasks {
        let cells: Vec<_> = task.trim_matches('|').split(" | ").collect();
        assert!(cells.len() == 2 && (cells[1].contains('[') || cells[1].contains("impl ")), "{task}");
        assert!(seen.insert(cells[0]), "twice: {task}");
    }
}

#[test]
fn the_pages_of_the_guide_are_short_and_their_code_is_run() {
    for (name, page) in pages() {
        assert!(page.lines().count() <= MAX_LINES, "{name} has {} lines", page.lines().count());
        let fences: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("```")).collect();
        for fence in fences.chunks(2) {
            assert!(BLOCKS.contains(&fence[0]) && fence[1..] == [""], "{name}: a block {fence:?}");
        }
    }
}

#[test]
fn links_to_sections_of_the_guide_lead_to_one() {
    let pages = pages();
    for (name, page) in &pages {
        for (target, section) in links(page) {
            let target = if target.is_empty() { name } else { &target };
            // Not a page: an item, whose sections rustdoc does not check either.
            let Some(target) = pages.get(target) else { continue };
            assert!(sections(target).contains(&section), "{name}: no section {section}");
        }
    }
}
