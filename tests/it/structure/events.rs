//! The table of events in the documentation: a row for each event, with all of its fields.

use std::collections::BTreeMap;
use std::fs;

use super::root;

/// The fields of each event, as the enum defines them.
fn defined(text: &str) -> BTreeMap<String, Vec<String>> {
    let body = text.split("pub enum PoolEvent").nth(1).expect("the enum").split("\n}").next().expect("its end");
    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines().skip(1) {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        let is_item = !line.starts_with("//") && !line.starts_with('}') && !line.starts_with('#');
        match indent {
            4 if is_item => {
                current = line.trim_end_matches([' ', '{', ',']).to_owned();
                events.insert(current.clone(), Vec::new());
            }
            8 if is_item => {
                let field = line.split(':').next().expect("a name").to_owned();
                events.get_mut(&current).expect("an event").push(field);
            }
            _ => {}
        }
    }
    events
}

/// The names in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The fields of each event, as the table lists them. Each row must have the same number of cells.
fn documented(text: &str) -> BTreeMap<String, Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with("//! | [`PoolEvent`]"));
    let rows = rows.skip(2).take_while(|line| line.starts_with("//! |"));
    let event = |row: &str| {
        let cells: Vec<_> = row.trim_start_matches("//! |").trim_end_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && cells[2..].iter().all(|cell| !cell.is_empty()), "{row}");
        (quoted(cells[0]).remove(0), quoted(cells[1]))
    };
    rows.map(event).collect()
}

#[test]
fn every_event_has_a_row_with_its_fields() {
    let read = |file: &str| fs::read_to_string(root().join("src/telemetry").join(file)).expect("a source");
    let (defined, documented) = (defined(&read("event.rs")), documented(&read("mod.rs")));
    assert!(defined.len() > 20, "{defined:?}");
    assert_eq!(documented, defined);
}
