//! [`Plot`]: one drawing, with lines or bars between two axes. Called by `sections`.

use std::fmt::Write;

use super::axis::Axis;
use super::escaped;
use crate::bench::bed::Mode;

/// Of the drawing, in its own units; the browser scales it.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 224.0;
/// What lies between the axes.
const LEFT: f64 = 54.0;
const RIGHT: f64 = 348.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 180.0;

/// A place, and what is said of it.
pub(super) struct Dot {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) tip: String,
}

/// How dots belong together.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Line,
    /// As a line, but dashed.
    Dashed,
    /// Level up to each dot.
    Steps,
    /// From the axis up to each dot, with this part of the drawing's width, beside the other mode's.
    Bars(f64),
}

/// One mode's values.
pub(super) struct Series {
    pub(super) mode: Mode,
    pub(super) kind: Kind,
    pub(super) dots: Vec<Dot>,
}

/// See the file's documentation.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) about: String,
    pub(super) x: Axis,
    pub(super) x_label: &'static str,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// A line to compare with.
    pub(super) ideal: Option<[(f64, f64); 2]>,
}

impl Plot {
    pub(super) fn draw(&self) -> String {
        let mut out = format!(
            "<figure><figcaption><b>{}</b> <span>{}</span></figcaption><svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(&self.title),
            escaped(&self.about),
            escaped(&self.title),
        );
        self.axes(&mut out);
        if let Some([from, to]) = self.ideal {
            let ((x1, y1), (x2, y2)) = (self.place(from.0, from.1), self.place(to.0, to.1));
            let _ = write!(out, "<path class=\"ideal\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>");
        }
        for series in &self.series {
            let _ = write!(out, "<g class=\"{}\">", series.mode.as_str());
            match series.kind {
                Kind::Bars(width) => self.bars(&mut out, series, width),
                _ => self.line(&mut out, series),
            }
            out.push_str("</g>");
        }
        out.push_str("</svg></figure>\n");
        out
    }

    fn place(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + self.x.place(x) * (RIGHT - LEFT), BOTTOM - self.y.place(y) * (BOTTOM - TOP))
    }

    fn axes(&self, out: &mut String) {
        for (place, text) in self.y.ticks() {
            let y = BOTTOM - place * (BOTTOM - TOP);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                LEFT - 8.0,
                y + 4.0,
            );
        }
        let mut free_from = f64::MIN;
        for (place, text) in self.x.ticks() {
            let x = LEFT + place * (RIGHT - LEFT);
            let _ = write!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{}\"/>", BOTTOM + 4.0);
            // About as wide as a letter is.
            let half = text.chars().count() as f64 * 3.7;
            if x - half >= free_from {
                let _ = write!(
                    out,
                    "<text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
                    BOTTOM + 18.0
                );
                free_from = x + half + 4.0;
            }
        }
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/><text class=\"middle label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            f64::midpoint(LEFT, RIGHT),
            BOTTOM + 37.0,
            escaped(self.x_label),
        );
    }

    fn line(&self, out: &mut String, series: &Series) {
        let mut path = String::new();
        let mut last = None;
        for dot in &series.dots {
            let (x, y) = self.place(dot.x, dot.y);
            match (last, series.kind) {
                (None, Kind::Steps) => drop(write!(path, "M{LEFT:.1} {y:.1}H{x:.1}")),
                (Some(_), Kind::Steps) => drop(write!(path, "V{y:.1}H{x:.1}")),
                (None, _) => drop(write!(path, "M{x:.1} {y:.1}")),
                (Some(_), _) => drop(write!(path, "L{x:.1} {y:.1}")),
            }
            last = Some((x, y));
        }
        let class = if series.kind == Kind::Dashed { "line dashed" } else { "line" };
        let _ = write!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        // Of steps there are too many to mark each.
        let radius = if series.kind == Kind::Steps { 0.0 } else { 3.5 };
        for dot in &series.dots {
            let (x, y) = self.place(dot.x, dot.y);
            let _ = write!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" data-tip=\"{}\"/>",
                escaped(&dot.tip),
            );
        }
    }

    fn bars(&self, out: &mut String, series: &Series, width: f64) {
        let width = (width * (RIGHT - LEFT) / 2.0 - 0.5).max(1.0);
        let shift = if series.mode == Mode::Home { -width } else { 0.5 };
        for dot in &series.dots {
            let (x, y) = self.place(dot.x, dot.y);
            let _ = write!(
                out,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" data-tip=\"{}\"/>",
                x + shift,
                BOTTOM - y,
                escaped(&dot.tip),
            );
        }
    }
}
