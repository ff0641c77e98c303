//! Which figures are drawn, and how. Called by the page.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::axis::{Axis, Unit};
use super::plot::{Dot, Kind, Plot, Series};
use super::{Content, escaped};
use crate::bench::bed::Mode;
use crate::bench::distribution::Distribution;
use crate::bench::report::{Figure, number};
use crate::bench::sweep::Point;

const MODES: [Mode; 2] = [Mode::Home, Mode::Free];

/// What distributions are called by: beginnings of the names of their figures.
const LATENCIES: &[(&str, &str, &str)] = &[
    ("latency.roundtrip", "Channel round trip", "two goroutines, no buffer"),
    ("latency.spawn.", "Spawn to start", "the goroutine's first instruction"),
    ("latency.sleep.p", "Sleep, idle", "how late after 100 µs"),
    ("latency.sleep.busy", "Sleep, every worker busy", "two that compute 20 µs at a time, for each"),
    ("echo64", "Echo of 64 bytes", "1,000 connections over loopback"),
    ("echo16k", "Echo of 16 KiB", "1,000 connections over loopback"),
    ("http", "HTTP", "1,000 connections over loopback"),
    ("gcbig.hiccup", "64 allocations", "beside a gigabyte of live objects"),
];
const PAUSES: &[(&str, &str, &str)] = &[
    ("trees18", "Binary trees", "depth 18"),
    ("gcbig.pause", "A large heap", "a gigabyte of live objects"),
    ("gcparked100k", "Many goroutines", "100,000 that wait"),
];

/// All sections that have something to show.
pub(super) fn all(content: &Content<'_>) -> String {
    let mut out = String::new();
    out.push_str(&section(
        "Speed",
        "One operation, on average, and whole workloads. Further left is faster; each line is ten times the one before.",
        &speeds(content.figures),
    ));
    out.push_str(&section(
        "Latency",
        "Every operation timed by itself. To the right are the rare ones: at 99% one in a hundred took longer.",
        &latencies(content.figures),
    ));
    out.push_str(&section(
        "Workers",
        "How many times as fast as with one worker. The dashed line is as fast as can be hoped for.",
        &scaling(&content.sweeps.workers),
    ));
    out.push_str(&section(
        "Memory",
        "What the process holds for goroutines that wait: stacks, page tables, the runtime's records, two handles each. \
         Solid: the default stack_max of 64 MiB; dashed: 256 KiB.",
        &memory(&content.sweeps.memory),
    ));
    out.push_str(&section(
        "Pauses",
        "How long the collector stopped the world, and how often.",
        &pauses(content.figures),
    ));
    out
}

fn section(name: &str, about: &str, drawings: &str) -> String {
    if drawings.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>{name}</h2><p>{}</p>\n<div class=\"plots\">{drawings}</div></section>\n",
        escaped(about)
    )
}

/// Nanoseconds, if the unit is one of time.
fn nanoseconds(figure: &Figure) -> Option<f64> {
    let by = match figure.unit.split(['/', ' ']).next()? {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        _ => return None,
    };
    Some(figure.value * by)
}

/// Two rows of dots: operations, and everything else that is a time and is not drawn below.
fn speeds(figures: &[Figure]) -> String {
    let drawn = |figure: &&Figure| {
        let below = LATENCIES.iter().chain(PAUSES).any(|(name, ..)| figure.name.starts_with(name));
        // The averages of what is drawn below belong here.
        nanoseconds(figure).is_some()
            && (!below || figure.unit.starts_with("ns/") || figure.name == "trees18")
    };
    let (operations, whole): (Vec<_>, Vec<_>) =
        figures.iter().filter(drawn).partition(|figure| figure.unit.starts_with("ns/"));
    let mut out = String::new();
    for (title, figures) in [("One operation", operations), ("Whole workloads", whole)] {
        if !figures.is_empty() {
            out.push_str(&rows(title, &figures));
        }
    }
    out
}

/// A row for each name, with a dot for each mode.
fn rows(title: &str, figures: &[&Figure]) -> String {
    const ROW: f64 = 22.0;
    const LEFT: f64 = 150.0;
    const RIGHT: f64 = 700.0;
    let mut names: Vec<&str> = Vec::new();
    for figure in figures {
        if !names.contains(&figure.name.as_str()) {
            names.push(&figure.name);
        }
    }
    let axis = Axis::log(figures.iter().filter_map(|figure| nanoseconds(figure)), Unit::Nanoseconds);
    let place = |value: f64| LEFT + axis.place(value) * (RIGHT - LEFT);
    let bottom = names.len() as f64 * ROW + 6.0;
    let mut out = format!(
        "<figure class=\"wide\"><figcaption><b>{title}</b></figcaption><svg class=\"plot\" viewBox=\"0 0 900 {}\" role=\"img\" aria-label=\"{title}\">",
        bottom + 26.0
    );
    for (at, text) in axis.ticks() {
        let x = LEFT + at * (RIGHT - LEFT);
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} 0V{bottom}\"/><text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
            bottom + 16.0
        );
    }
    for (row, name) in names.iter().enumerate() {
        let y = row as f64 * ROW + 14.0;
        let of = |mode| figures.iter().find(|figure| figure.name == *name && figure.mode == mode);
        let _ = write!(
            out,
            "<text class=\"end name\" x=\"{}\" y=\"{}\">{}</text>",
            LEFT - 12.0,
            y + 4.0,
            escaped(name)
        );
        let places: Vec<f64> =
            MODES.into_iter().filter_map(|mode| Some(place(nanoseconds(of(mode)?)?))).collect();
        if let [a, b] = places[..] {
            let _ = write!(out, "<path class=\"between\" d=\"M{a:.1} {y}H{b:.1}\"/>");
        }
        for (column, mode) in MODES.into_iter().enumerate() {
            let Some((figure, value)) = of(mode).and_then(|figure| Some((figure, nanoseconds(figure)?)))
            else {
                continue;
            };
            let text = Unit::Nanoseconds.text(value);
            let note = figure.note.as_deref().map_or(String::new(), |note| format!("\n{note}"));
            let _ = write!(
                out,
                "<g class=\"{}\"><circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" data-tip=\"{} ({mode}): {} {}{}\"/><text class=\"end value\" x=\"{}\" y=\"{}\">{text}</text></g>",
                mode.as_str(),
                place(value),
                escaped(name),
                number(figure.value),
                escaped(&figure.unit),
                escaped(&note),
                800 + 90 * column,
                y + 4.0,
            );
        }
    }
    out.push_str("</svg></figure>\n");
    out
}

/// The distribution of each mode under a name.
fn distributions<'a>(figures: &'a [Figure], name: &str) -> Vec<(Mode, &'a Distribution)> {
    figures
        .iter()
        .filter(|figure| figure.name.starts_with(name))
        .filter_map(|figure| Some((figure.mode, figure.distribution.as_ref()?)))
        .filter(|(_, distribution)| distribution.count() > 0)
        .collect()
}

fn latencies(figures: &[Figure]) -> String {
    let mut out = String::new();
    for (name, title, about) in LATENCIES {
        let all = distributions(figures, name);
        let Some(most) = all.iter().map(|(_, distribution)| distribution.count()).max() else { continue };
        let times =
            all.iter().flat_map(|(_, distribution)| &distribution.buckets).map(|(bound, _)| *bound as f64);
        let series = all.iter().map(|(mode, distribution)| {
            let tip = |part: f64, bound: u64| {
                format!(
                    "{} of all within {} ({mode})",
                    Unit::Percent.text(part),
                    Unit::Nanoseconds.text(bound as f64)
                )
            };
            let dots = distribution.cumulative().map(|(part, bound)| Dot {
                x: part,
                y: bound as f64,
                tip: tip(part, bound),
            });
            Series { mode: *mode, kind: Kind::Steps, dots: dots.collect() }
        });
        let plot = Plot {
            title: (*title).to_owned(),
            about: (*about).to_owned(),
            x: Axis::nines(most),
            x_label: "part of all",
            y: Axis::log(times, Unit::Nanoseconds),
            series: series.collect(),
            ideal: None,
        };
        out.push_str(&plot.draw());
    }
    out
}

/// A mode's points, from left to right.
type Of<'a> = (Mode, Vec<&'a Point>);

/// Points by name, and by mode within.
fn by_name(points: &[Point]) -> Vec<(&str, Vec<Of<'_>>)> {
    let mut names: Vec<&str> = Vec::new();
    for point in points {
        if !names.contains(&point.figure.name.as_str()) {
            names.push(&point.figure.name);
        }
    }
    let of = |name: &str, mode| {
        let mut of: Vec<_> =
            points.iter().filter(|point| point.figure.name == name && point.figure.mode == mode).collect();
        of.sort_by_key(|point| point.at);
        (mode, of)
    };
    let modes =
        |name| MODES.into_iter().map(|mode| of(name, mode)).filter(|(_, of)| !of.is_empty()).collect();
    names.into_iter().map(|name| (name, modes(name))).collect()
}

fn scaling(points: &[Point]) -> String {
    let most = points.iter().map(|point| point.at).max().unwrap_or(1);
    let mut out = String::new();
    if most < 2 {
        return out;
    }
    for (name, modes) in by_name(points) {
        let mut series = Vec::new();
        for (mode, of) in modes {
            // Times all of them.
            let first = of.iter().find(|point| point.at == 1).map_or(0.0, |point| point.figure.value);
            let dot = |point: &&Point| {
                let y = first / point.figure.value.max(1e-9);
                let (value, unit) = (number(point.figure.value), &point.figure.unit);
                Dot {
                    x: point.at as f64,
                    y,
                    tip: format!("{} workers: {value} {unit}, {y:.2} times as fast ({mode})", point.at),
                }
            };
            series.push(Series { mode, kind: Kind::Line, dots: of.iter().map(dot).collect() });
        }
        let seen = series.iter().flat_map(|series| &series.dots).map(|dot| dot.y);
        let plot = Plot {
            title: name.to_owned(),
            about: String::new(),
            x: Axis::linear(std::iter::once(most as f64), Unit::Plain),
            x_label: "workers",
            y: Axis::linear(seen.chain([most as f64]), Unit::Plain),
            series,
            ideal: Some([(1.0, 1.0), (most as f64, most as f64)]),
        };
        out.push_str(&plot.draw());
    }
    out
}

fn memory(points: &[Point]) -> String {
    let mut out = String::new();
    if points.is_empty() {
        return out;
    }
    for total in [true, false] {
        let value = |point: &Point| point.figure.value * if total { point.at as f64 } else { 1.0 };
        let mut series = Vec::new();
        for (name, modes) in by_name(points) {
            let kind = if name.contains("256k") { Kind::Dashed } else { Kind::Line };
            for (mode, of) in modes {
                let tip = |point: &Point| {
                    let (each, all) = (point.figure.value, point.figure.value * point.at as f64);
                    format!(
                        "{} goroutines: {} each, {} in all ({mode})",
                        Unit::Plain.text(point.at as f64),
                        Unit::Bytes.text(each),
                        Unit::Bytes.text(all)
                    )
                };
                let dots =
                    of.into_iter().map(|point| Dot { x: point.at as f64, y: value(point), tip: tip(point) });
                series.push(Series { mode, kind, dots: dots.collect() });
            }
        }
        let values = points.iter().map(value);
        let plot = Plot {
            title: String::from(if total { "In all" } else { "For each goroutine" }),
            about: String::new(),
            x: Axis::log(points.iter().map(|point| point.at as f64), Unit::Plain),
            x_label: "goroutines",
            y: if total { Axis::log(values, Unit::Bytes) } else { Axis::linear(values, Unit::Bytes) },
            series,
            ideal: None,
        };
        out.push_str(&plot.draw());
    }
    out
}

/// Parts of a power of ten that share a bar.
const BARS: f64 = 8.0;

fn pauses(figures: &[Figure]) -> String {
    let mut out = String::new();
    for (name, title, about) in PAUSES {
        let all = distributions(figures, name);
        if all.is_empty() {
            continue;
        }
        let bar = |bound: u64| (bound.max(1) as f64).log10() * BARS;
        let middle = |bar: i64| 10.0_f64.powf((bar as f64 + 0.5) / BARS);
        let mut series = Vec::new();
        for (mode, distribution) in &all {
            let mut bars: BTreeMap<i64, u64> = BTreeMap::new();
            for (bound, count) in &distribution.buckets {
                *bars.entry(bar(*bound).floor() as i64).or_default() += count;
            }
            let tip = |at: i64, count| {
                let edge = |bar: i64| Unit::Nanoseconds.text(10.0_f64.powf(bar as f64 / BARS));
                format!(
                    "{count} of {} pauses from {} to {} ({mode})",
                    distribution.count(),
                    edge(at),
                    edge(at + 1)
                )
            };
            let dots = bars.into_iter().map(|(at, count)| Dot {
                x: middle(at),
                y: count as f64,
                tip: tip(at, count),
            });
            series.push(Series { mode: *mode, kind: Kind::Bars(0.0), dots: dots.collect() });
        }
        let times: Vec<f64> = series.iter().flat_map(|series| &series.dots).map(|dot| dot.x).collect();
        let x = Axis::log(times.iter().copied(), Unit::Nanoseconds);
        // As wide as its part of the axis.
        let width = x.place(middle(0).max(times[0]) * 10.0_f64.powf(1.0 / BARS)) - x.place(times[0]);
        let width = if width > 0.0 {
            width
        } else {
            x.place(times[0]) - x.place(times[0] / 10.0_f64.powf(1.0 / BARS))
        };
        series.iter_mut().for_each(|series| series.kind = Kind::Bars(width * 0.9));
        let counts = series.iter().flat_map(|series| &series.dots).map(|dot| dot.y);
        let plot = Plot {
            title: (*title).to_owned(),
            about: (*about).to_owned(),
            y: Axis::linear(counts, Unit::Plain),
            x,
            x_label: "how long",
            series,
            ideal: None,
        };
        out.push_str(&plot.draw());
    }
    out
}
