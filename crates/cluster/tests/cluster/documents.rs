//! What the documentation lists is what the code has.

use std::collections::BTreeSet;

const OPERATING: &str = include_str!("../../src/guide/operating.md");

fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter));
    words.filter(|word| word.starts_with("acceptor_cluster_")).collect()
}

#[test]
fn every_metric_is_documented() {
    let reported = metrics_in(include_str!("../../src/metrics.rs"));
    assert!(reported.len() > 10, "{reported:?}");
    assert_eq!(reported, metrics_in(OPERATING));
}
