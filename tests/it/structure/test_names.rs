//! What the documents say about tests: every test that ARCHITECTURE.md names exists, and every row of the comparison in
//! README.md is backed by one of its rows.

use std::collections::BTreeSet;
use std::fs;

use super::lexer::{tokens, Token};
use super::{root, sources};

#[test]
fn every_test_that_the_architecture_names_exists() {
    let named = tests_named_in(&document("ARCHITECTURE.md"));
    assert!(named.len() > 100, "the tables were not found");
    let folders = ["src", "tests", "crates"];
    let sources = folders.iter().flat_map(|folder| sources(&root().join(folder)));
    let tests: BTreeSet<_> = sources.flat_map(|(_, text)| tests_of(&text)).collect();
    let is_path = |name: &str| ["", "tests"].iter().any(|folder| root().join(folder).join(name).exists());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(*name) && !is_path(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_row_of_the_comparison_is_backed() {
    let compared = first_cells(&document("README.md"), "## Compared with");
    let backed = first_cells(&document("ARCHITECTURE.md"), "## What the README compares");
    assert!(compared.len() > 30, "the table was not found");
    assert_eq!(compared, backed);
}

/// The names in back-quotes in the last column of each table whose last column is called `test`.
fn tests_named_in(markdown: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for table in tables(markdown) {
        let is_of_tests = table[0].last().is_some_and(|header| header == "test");
        for row in table.iter().skip(1).filter(|_| is_of_tests) {
            named.extend(row.last().into_iter().flat_map(|cell| quoted(cell)));
        }
    }
    named
}

/// The first cells of the rows of all tables of a section. Rows that are headings, in bold, are left out.
fn first_cells(markdown: &str, heading: &str) -> Vec<String> {
    let start = markdown.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}")) + 1;
    let section = &markdown[start..];
    let end = section[1..].find("\n## ").map_or(section.len(), |end| end + 1);
    let rows = tables(&section[..end]).into_iter().flat_map(|table| table.into_iter().skip(1));
    rows.map(|row| row[0].clone()).filter(|cell| !cell.starts_with("**")).collect()
}

/// The tables, each as its rows of cells, the header first.
fn tables(markdown: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut is_code = false;
    for line in markdown.lines().chain([""]) {
        is_code ^= line.starts_with("```");
        if line.starts_with('|') && !is_code {
            rows.extend(Some(cells(line)).filter(|cells| !cells[0].starts_with("---")));
        } else if !rows.is_empty() {
            tables.push(std::mem::take(&mut rows));
        }
    }
    tables
}

fn cells(line: &str) -> Vec<String> {
    // A bar in a cell is escaped.
    let line = line.trim().trim_start_matches('|').replace("\\|", "\0");
    let cells = line.strip_suffix('|').unwrap_or(&line).split('|');
    cells.map(|cell| cell.trim().replace('\0', "|")).collect()
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names of the functions that follow an attribute which ends in `test`.
fn tests_of(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let (mut tests, mut is_test) = (Vec::new(), false);
    for pair in tokens.windows(2) {
        match pair {
            [test, Token::Symbol(']' | '(')] if test.is("test") => is_test = true,
            [function, Token::Word(name)] if function.is("fn") && std::mem::take(&mut is_test) => {
                tests.push(name.clone())
            }
            _ => {}
        }
    }
    tests
}

#[test]
fn only_the_last_column_of_tables_of_tests_names_tests() {
    let markdown =
        "`in_prose`\n\n| what | test |\n|---|---|\n| `first` | `it/a.rs`, unit: `second` |\n| a \\| b | – |\n\n\
                    | what | where |\n|---|---|\n| a | `third` |\n\n```text\n| what | test |\n| a | `fourth` |\n```\n";
    assert_eq!(tests_named_in(markdown).into_iter().collect::<Vec<_>>(), ["it/a.rs", "second"]);
}

#[test]
fn first_cells_are_those_of_one_section() {
    let markdown =
        "\n## One\n| a |\n|---|\n| 1 |\n\n## Two\n| b | c |\n|---|---|\n| **group** | |\n| 2 \\| 3 | x |\n\n## Three\n";
    assert_eq!(first_cells(markdown, "## Two"), ["2 | 3"]);
}

#[test]
fn functions_with_an_attribute_are_tests() {
    let source = "#[test] fn a() {} fn b() {} #[tokio::test(start_paused = true)] async fn c() { fn d() {} } \
                  #[actix::test] #[ignore] async fn e() {} // #[test] fn f() {}";
    assert_eq!(tests_of(source), ["a", "c", "e"]);
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
