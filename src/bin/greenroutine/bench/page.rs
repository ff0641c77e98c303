//! The report as one HTML page with drawings in it, which needs nothing else: `--report`. Called by the runner.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bed::Mode;
use super::report::{Figure, number};

/// A workload's figure at a number of workers.
pub(super) struct Scaled {
    pub(super) workers: usize,
    pub(super) figure: Figure,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;width:100%}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{max-width:100%}text{font:12px system-ui,sans-serif;fill:#222}\
.home{fill:#2a7f62}.free{fill:#c8793a}.line-home{stroke:#2a7f62}.line-free{stroke:#c8793a}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ddd}td,th{border-color:#444}}";

/// Writes `index.html` into a folder, which is made if need be. Returns where.
pub(super) fn write(
    folder: &Path,
    figures: &[Figure],
    scaled: &[Scaled],
    quick: bool,
) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join("index.html");
    fs::write(&path, page(figures, scaled, quick))?;
    Ok(path)
}

fn page(figures: &[Figure], scaled: &[Scaled], quick: bool) -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>greenroutine bench</title><style>{STYLE}</style><h1>greenroutine {version}</h1>\
         <p>Linux {}, {processors} processors.{}</p>",
        escaped(kernel.trim()),
        if quick { " <b>Quick: sizes are smaller than the names say.</b>" } else { "" },
    );
    out.push_str("<p><svg width=\"220\" height=\"16\"><rect class=\"home\" width=\"12\" height=\"12\"/><text x=\"18\" y=\"11\">home mode</text>");
    out.push_str("<rect class=\"free\" x=\"110\" width=\"12\" height=\"12\"/><text x=\"128\" y=\"11\">free mode</text></svg></p>");
    let mut units: Vec<&str> = Vec::new();
    for figure in figures {
        if !units.contains(&figure.unit.as_str()) {
            units.push(&figure.unit);
        }
    }
    for unit in units {
        let of_unit: Vec<_> = figures.iter().filter(|figure| figure.unit == unit).collect();
        let _ = write!(out, "<h2>{}</h2>", escaped(unit));
        out.push_str(&bars(&of_unit));
    }
    if !scaled.is_empty() {
        out.push_str("<h2>Over workers</h2><p>Each against itself with one worker: below 1 is faster.</p>");
        out.push_str(&scaling(scaled));
    }
    out.push_str("<h2>Figures</h2>");
    out.push_str(&table(figures));
    out.push_str("</html>\n");
    out
}

fn class(mode: Mode) -> &'static str {
    mode.as_str()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A bar for each figure, all of one unit, by powers of ten.
fn bars(figures: &[&Figure]) -> String {
    const ROW: usize = 18;
    let log = |value: f64| value.max(1e-3).log10();
    let (low, high) = figures.iter().fold((f64::MAX, f64::MIN), |(low, high), figure| {
        (low.min(log(figure.value)), high.max(log(figure.value)))
    });
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let mut out = format!("<svg viewBox=\"0 0 900 {}\" width=\"900\">", figures.len() * ROW + 4);
    for (row, figure) in figures.iter().enumerate() {
        let y = row * ROW;
        let width = (log(figure.value) - low) / (high - low) * 480.0 + 2.0;
        let _ = write!(
            out,
            "<text x=\"0\" y=\"{}\">{}</text><rect class=\"{}\" x=\"300\" y=\"{}\" width=\"{width:.1}\" height=\"13\"/><text x=\"{:.1}\" y=\"{}\">{}</text>",
            y + 13,
            escaped(&figure.name),
            class(figure.mode),
            y + 2,
            306.0 + width,
            y + 13,
            number(figure.value),
        );
    }
    out.push_str("</svg>");
    out
}

/// A small drawing for each workload: its time over the number of workers, against one worker.
fn scaling(scaled: &[Scaled]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for point in scaled {
        if !names.contains(&point.figure.name.as_str()) {
            names.push(&point.figure.name);
        }
    }
    let most = scaled.iter().map(|point| point.workers).max().unwrap_or(1).max(2);
    let mut out = String::new();
    for name in names {
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 280 180\" width=\"280\"><text x=\"10\" y=\"14\">{}</text>",
            escaped(name)
        );
        out.push_str("<path d=\"M30 24V150H270\" fill=\"none\" stroke=\"#888\"/>");
        let of_name =
            |mode| scaled.iter().filter(move |point| point.figure.name == name && point.figure.mode == mode);
        let ratio = |point: &Scaled| {
            let first = of_name(point.figure.mode).next().map_or(1.0, |first| first.figure.value);
            point.figure.value / first.max(1e-9)
        };
        let top = [Mode::Home, Mode::Free].into_iter().flat_map(of_name).map(ratio).fold(1.0, f64::max);
        for mode in [Mode::Home, Mode::Free] {
            let mut line = String::new();
            for point in of_name(mode) {
                let x = 40.0 + (point.workers - 1) as f64 / (most - 1) as f64 * 220.0;
                let y = 150.0 - ratio(point) / top * 115.0;
                let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" });
                let _ = write!(
                    out,
                    "<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{} workers: {} {}</title></circle>",
                    class(mode),
                    point.workers,
                    number(point.figure.value),
                    escaped(&point.figure.unit),
                );
            }
            let _ = write!(out, "<path class=\"line-{}\" d=\"{line}\" fill=\"none\"/>", class(mode));
        }
        let _ = write!(
            out,
            "<text x=\"2\" y=\"38\">{top:.1}</text><text x=\"30\" y=\"168\">1</text><text x=\"255\" y=\"168\">{most}</text></svg>"
        );
    }
    out
}

fn table(figures: &[Figure]) -> String {
    let mut out = String::from("<table><tr><th>workload<th>mode<th>value<th>unit<th>note</tr>");
    for figure in figures {
        let note = figure.note.as_deref().unwrap_or_default();
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escaped(&figure.name),
            figure.mode,
            number(figure.value),
            escaped(&figure.unit),
            escaped(note)
        );
    }
    out.push_str("</table>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_nothing_else() {
        let figure = |value| Figure::new("a <b>", Mode::Home, value, "ns");
        let scaled: Vec<_> =
            (1..4).map(|workers| Scaled { workers, figure: figure(10.0 / workers as f64) }).collect();
        let page = page(&[figure(12.5), Figure::new("c", Mode::Free, 0.0, "bytes")], &scaled, true);
        assert!(page.contains("12.5") && page.contains("a &lt;b&gt;") && !page.contains("<b>\""));
        assert!(!page.contains("http"), "no network");
        assert!(!page.contains("NaN") && !page.contains("inf"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}
