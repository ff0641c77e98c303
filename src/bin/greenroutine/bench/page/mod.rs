//! The report as one HTML page with drawings in it, which needs nothing else: `--report`. Called by the runner.
//!
//! | file | job |
//! | --- | --- |
//! | `axis` | values to places, and round numbers beside them |
//! | `plot` | one drawing: lines or bars between two axes |
//! | `sections` | which figures are drawn how |
//! | `table` | all figures |
//! | `style.css`, `script.js` | what the browser adds: colours by its theme, values under the pointer, modes on and off, tables in order |

mod axis;
mod plot;
mod sections;
mod table;

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::malloc;
use super::report::Figure;
use super::sweep::Sweeps;

/// All that the page shows.
pub(super) struct Content<'a> {
    pub(super) figures: &'a [Figure],
    pub(super) sweeps: &'a Sweeps,
    pub(super) allocators: &'a [malloc::Row],
    /// What could not be measured.
    pub(super) failed: &'a [String],
    pub(super) quick: bool,
}

/// Writes `index.html` into a folder, which is made if need be. Returns where.
pub(super) fn write(folder: &Path, content: &Content<'_>) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join("index.html");
    fs::write(&path, page(content, &machine()))?;
    Ok(path)
}

/// What it was measured on.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut parts = vec![format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())];
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    parts.push(format!("{processors} processors"));
    parts.extend(after(&cpus, "model name"));
    let kilobytes =
        after(&memory, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    parts.extend(kilobytes.map(|kilobytes| format!("{} GiB of memory", (kilobytes + (1 << 19)) >> 20)));
    parts.join(" · ")
}

fn page(content: &Content<'_>, machine: &str) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>greenroutine bench</title>\n\
         <style>\n{}</style></head><body>\n<header><h1>greenroutine <small>{}</small></h1><p>{}</p>",
        include_str!("style.css"),
        env!("CARGO_PKG_VERSION"),
        escaped(machine),
    );
    if content.quick {
        out.push_str("<p class=\"warning\">A quick look: sizes are a twentieth of what the names say. Do not quote these figures.</p>");
    }
    if !content.failed.is_empty() {
        let _ = write!(out, "<p class=\"warning\">Not measured: {}</p>", escaped(&content.failed.join("; ")));
    }
    out.push_str(
        "<div class=\"legend\"><button class=\"home\" data-mode=\"home\">home mode</button>\
         <button class=\"free\" data-mode=\"free\">free mode</button></div></header>\n<main>\n",
    );
    out.push_str(&sections::all(content));
    out.push_str(&table::all(content));
    let _ = write!(
        out,
        "</main>\n<div id=\"tip\" hidden></div>\n<script>\n{}</script></body></html>\n",
        include_str!("script.js")
    );
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::bed::Mode;
    use crate::bench::distribution::Distribution;
    use crate::bench::sweep::Point;

    /// Every section has something, and something odd: no value, one value, zero, text that is not HTML.
    #[test]
    fn a_page_needs_nothing_else() {
        let buckets = [(Duration::from_micros(3), 5), (Duration::from_micros(90), 1)];
        let pauses = Distribution::of_buckets(buckets.into_iter());
        let figures = [
            Figure::new("a <b>", Mode::Home, 12.5, "ns/yield").note("5 > 4"),
            Figure::new("zero", Mode::Free, 0.0, "ns/yield"),
            Figure::new("whole", Mode::Home, 3.0, "ms"),
            Figure::new("latency.roundtrip.p50", Mode::Home, 50.0, "ns")
                .distribution(Distribution::of_sorted(&[50])),
            Figure::new("trees18.pause.p50", Mode::Free, 3.0, "us").distribution(pauses.clone()),
            Figure::new("trees18.pause.p50", Mode::Home, 3.0, "us").distribution(pauses),
        ];
        let point = |at, value| Point { at, figure: Figure::new("skynet1M", Mode::Home, value, "ms") };
        let memory =
            |at| Point { at, figure: Figure::new("parked1M.mem", Mode::Free, 8e3, "bytes/goroutine") };
        let sweeps =
            Sweeps { workers: vec![point(1, 10.0), point(2, 5.0)], memory: vec![memory(1000), memory(100)] };
        let failed = [String::from("http (home): no <luck>")];
        let content =
            Content { figures: &figures, sweeps: &sweeps, allocators: &[], failed: &failed, quick: true };
        let page = page(&content, "a machine");
        assert!(page.contains("12.5") && page.contains("a &lt;b&gt;") && !page.contains("a <b>"));
        assert!(page.contains("5 &gt; 4") && page.contains("no &lt;luck&gt;"));
        for name in ["Latency", "Workers", "Memory", "Pauses", "All figures"] {
            assert!(page.contains(&format!("<h2>{name}")), "{name}");
        }
        assert!(!page.contains("://"), "no network");
        // In what is drawn; the script has a function of that name.
        let drawn = sections::all(&content) + &table::all(&content);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        for tag in ["svg", "table", "section", "div", "g"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn a_page_of_nothing() {
        let sweeps = Sweeps { workers: Vec::new(), memory: Vec::new() };
        let content = Content { figures: &[], sweeps: &sweeps, allocators: &[], failed: &[], quick: false };
        assert!(!page(&content, "").contains("<svg"));
    }
}
