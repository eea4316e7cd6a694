//! Prints the table, each line as soon as it is measured.

use crate::measure::Ratio;
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
        server,
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
        server,
        &format!("{theirs:.0} B"),
        &format!("{ours:.0} B"),
        ratio,
        "",
        &if bar.is_some() { verdict(ours, bar, " B") } else { verdict(ratio, ratio_bar, "") },
        "",
    );
}

/// Prints instruction counts, which do not vary from run to run.
pub(crate) fn instructions(server: Server, theirs: f64, ours: f64, bar: Option<f64>) {
    let ratio = ours / theirs;
    line(server, &format!("{theirs:.0}"), &format!("{ours:.0}"), ratio, "", &verdict(ratio, bar, ""), "");
}

/// Prints the time of a call and the longest time allowed.
pub(crate) fn time(server: Server, ours: f64, bar: f64) {
    let kept = if ours <= bar { "ok" } else { "ABOVE" };
    println!(
        "{:<14}{:>24}{:>25}",
        format!("  {}", server.label()),
        nanoseconds(ours),
        format!("<= {} {kept}", nanoseconds(bar))
    );
}

fn line(server: Server, theirs: &str, ours: &str, ratio: f64, spread: &str, bar: &str, busy: &str) {
    let line = format!(
        "{:<14}{theirs:>12}{ours:>12}{ratio:>8.2}  {spread:<13}{bar:<14}{busy}",
        format!("  {}", server.label())
    );
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
