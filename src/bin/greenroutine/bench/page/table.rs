//! All figures as tables: both modes side by side, and the allocators. Called by the page.

use std::fmt::Write;

use super::{Content, escaped};
use crate::bench::bed::Mode;
use crate::bench::malloc;
use crate::bench::report::{Figure, number};

pub(super) fn all(content: &Content<'_>) -> String {
    let mut out = String::new();
    if !content.figures.is_empty() {
        out.push_str(&workloads(content.figures));
    }
    if !content.allocators.is_empty() {
        out.push_str(&allocators(content.allocators));
    }
    out
}

fn workloads(figures: &[Figure]) -> String {
    let mut out = String::from(
        "<section><h2>All figures</h2><p>A click on a heading sorts.</p><table><thead><tr><th>workload<th>home<th>free\
         <th>free / home<th class=\"text\">unit<th class=\"text\">note</tr></thead><tbody>\n",
    );
    let mut seen: Vec<&str> = Vec::new();
    for figure in figures {
        if seen.contains(&figure.name.as_str()) {
            continue;
        }
        seen.push(&figure.name);
        let of = |mode| figures.iter().find(|other| other.name == figure.name && other.mode == mode);
        let cell = |mode| of(mode).map_or(String::from("–"), |figure| number(figure.value));
        let ratio = match (of(Mode::Home), of(Mode::Free)) {
            (Some(home), Some(free)) if home.value > 0.0 => format!("{:.2}", free.value / home.value),
            _ => String::from("–"),
        };
        let notes: Vec<String> = [Mode::Home, Mode::Free]
            .into_iter()
            .filter_map(|mode| Some(format!("{mode}: {}", of(mode)?.note.as_deref()?)))
            .collect();
        let _ = writeln!(
            out,
            "<tr><td>{}<td class=\"home\">{}<td class=\"free\">{}<td>{ratio}<td class=\"text\">{}<td class=\"text note\">{}</tr>",
            escaped(&figure.name),
            cell(Mode::Home),
            cell(Mode::Free),
            escaped(&figure.unit.replace("us", "µs")),
            escaped(&notes.join("; ")),
        );
    }
    out.push_str("</tbody></table></section>\n");
    out
}

fn allocators(rows: &[malloc::Row]) -> String {
    let mut out = String::from(
        "<section><h2>Allocators</h2><p>Nanoseconds an operation, and the most memory in MiB, beside what the process had before.</p>\
         <table><thead><tr><th>workload<th>ours<th>mimalloc<th>system<th>ours / mimalloc<th>ours, MiB<th>mimalloc, MiB<th>system, MiB</tr></thead><tbody>\n",
    );
    for row in rows {
        let [ours, mimalloc, system] = row.as_slice() else { continue };
        let _ = write!(out, "<tr><td>{}", escaped(&ours.name));
        for figures in [ours, mimalloc, system] {
            let _ = write!(out, "<td>{:.1}", figures.nanoseconds);
        }
        let _ = write!(out, "<td>{:.2}", ours.nanoseconds / mimalloc.nanoseconds);
        for figures in [ours, mimalloc, system] {
            let _ = write!(out, "<td>{:.1}", figures.most);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></section>\n");
    out
}
