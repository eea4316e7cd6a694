//! Prints the table, each line as soon as it is measured.

use crate::measure::{self, Growth, Ratio};
use crate::servers::Server;

/// Prints the names of the columns.
pub(crate) fn head() {
    println!(
        "{:<14}{:>12}{:>12}{:>8}  {:<13}{:<14}server busy",
        "  against", "theirs", "ours", "ratio", "min - max", "bar"
    );
}

/// Prints the title of a row. One line for each baseline follows.
pub(crate) fn title(name: &str, what: &str) {
    println!("\n{name}: {what}");
}

/// Prints CPU costs: the median of the rounds and the spread of their ratios.
pub(crate) fn ratio(server: Server, figures: &Ratio, bar: Option<f64>) {
    let spread = format!("{:.2} - {:.2}", figures.lowest, figures.highest);
    let busy = format!("{:.0} %, {:.0} %", figures.theirs_busy * 100.0, figures.ours_busy * 100.0);
    line(
        server.label(),
        &nanoseconds(figures.theirs),
        &nanoseconds(figures.ours),
        figures.ratio,
        &spread,
        &verdict(figures.ratio, bar, ""),
        &busy,
    );
}

/// Prints memory. `bar` limits the figure of this library, `ratio_bar` the ratio.
pub(crate) fn bytes(server: Server, theirs: f64, ours: f64, bar: Option<f64>, ratio_bar: Option<f64>) {
    let ratio = ours / theirs;
    line(
        server.label(),
        &format!("{theirs:.0} B"),
        &format!("{ours:.0} B"),
        ratio,
        "",
        &if bar.is_some() { verdict(ours, bar, " B") } else { verdict(ratio, ratio_bar, "") },
        "",
    );
}

/// Prints rates. `bar` is the lowest ratio allowed.
pub(crate) fn rate(label: &str, theirs: f64, ours: f64, ratios: [f64; 3], bar: Option<f64>) {
    let [lowest, ratio, highest] = ratios;
    let spread = format!("{lowest:.2} - {highest:.2}");
    let bar = bar.map_or(String::new(), |bar| format!(">= {bar:.2} {}", if ratio >= bar { "ok" } else { "BELOW" }));
    line(label, &format!("{theirs:.0}/s"), &format!("{ours:.0}/s"), ratio, &spread, &bar, "");
}

/// Prints costs for comparison.
pub(crate) fn cost(label: &str, theirs: f64, ours: f64) {
    line(label, &nanoseconds(theirs), &nanoseconds(ours), ours / theirs, "", "", "");
}

/// Prints a figure of this library that has no bar.
pub(crate) fn figure(label: &str, figure: &str) {
    println!("  {label:<40}{figure}");
}

/// Prints how much a figure has changed, in percent: the median, the least and the greatest of the rounds.
pub(crate) fn change(label: &str, ratios: &[f64], bar: Option<f64>) {
    let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    let (least, greatest) = ratios.iter().fold((f64::MAX, f64::MIN), |(a, b), ratio| (a.min(*ratio), b.max(*ratio)));
    let median = measure::median(ratios);
    let spread = format!("({} to {})", percent(least), percent(greatest));
    let kept = bar.map(|bar| format!("<= {} {}", percent(bar), if median <= bar { "ok" } else { "ABOVE" }));
    figure(label, format!("{:<9}{spread:<26}{}", percent(median), kept.unwrap_or_default()).trim_end());
}

/// Prints instruction counts, which do not vary from run to run.
pub(crate) fn instructions(label: &str, theirs: f64, ours: f64, bar: Option<f64>) {
    let ratio = ours / theirs;
    line(label, &format!("{theirs:.0}"), &format!("{ours:.0}"), ratio, "", &verdict(ratio, bar, ""), "");
}

/// Prints the time of a call and the longest time allowed.
pub(crate) fn time(label: &str, ours: f64, bar: f64) {
    single(label, &nanoseconds(ours), ours <= bar, &nanoseconds(bar));
}

/// Prints memory that no server is compared with.
pub(crate) fn only_bytes(label: &str, ours: f64, bar: f64) {
    single(label, &format!("{ours:.0} B"), ours <= bar, &format!("{bar:.0} B"));
}

/// Prints times. `bar` limits that of this library.
pub(crate) fn times(server: Server, theirs: f64, ours: f64, bar: f64) {
    let kept = if ours <= bar { "ok" } else { "ABOVE" };
    let bar = format!("<= {} {kept}", nanoseconds(bar));
    line(server.label(), &nanoseconds(theirs), &nanoseconds(ours), ours / theirs, "", &bar, "");
}

/// Prints CPU costs with few and with many connections, and how they grow. `bar` limits our growth against theirs.
pub(crate) fn growth([few, many]: [usize; 2], figures: &Growth, bar: f64) {
    let costs = |count: usize, costs: &Ratio| {
        line(&format!("{count}"), &nanoseconds(costs.theirs), &nanoseconds(costs.ours), costs.ratio, "", "", "");
    };
    costs(few, &figures.few);
    costs(many, &figures.many);
    let (theirs, ours) = (format!("{:.2}", figures.theirs), format!("{:.2}", figures.ours));
    let spread = format!("{:.2} - {:.2}", figures.lowest, figures.highest);
    line("growth", &theirs, &ours, figures.ratio, &spread, &verdict(figures.ratio, Some(bar), ""), "");
}

/// Prints a factor or an average count, and the highest allowed.
pub(crate) fn number(label: &str, ours: f64, bar: f64) {
    single(label, &format!("{ours:.2}"), ours <= bar, &format!("{bar:.2}"));
}

fn single(label: &str, ours: &str, is_kept: bool, bar: &str) {
    let kept = if is_kept { "ok" } else { "ABOVE" };
    println!("{:<14}{ours:>24}{:>25}", format!("  {label}"), format!("<= {bar} {kept}"));
}

fn line(label: &str, theirs: &str, ours: &str, ratio: f64, spread: &str, bar: &str, busy: &str) {
    let line = format!("{:<14}{theirs:>12}{ours:>12}{ratio:>8.2}  {spread:<13}{bar:<14}{busy}", format!("  {label}"));
    println!("{}", line.trim_end());
}

fn nanoseconds(cost: f64) -> String {
    if cost < 10_000.0 {
        format!("{cost:.0} ns")
    } else {
        format!("{:.1} us", cost / 1000.0)
    }
}

fn verdict(figure: f64, bar: Option<f64>, unit: &str) -> String {
    let Some(bar) = bar else {
        return String::new();
    };
    let bar_in_unit = if unit.is_empty() { format!("{bar:.2}") } else { format!("{bar:.0}{unit}") };
    let kept = if figure <= bar { "ok" } else { "ABOVE" };
    format!("<= {bar_in_unit} {kept}")
}
