//! Figures, as a table with a column for each mode, or as JSON lines while they come in. Called by the runner.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::bed::Mode;
use super::distribution::Distribution;

/// One measured number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) mode: Mode,
    pub(super) value: f64,
    pub(super) unit: String,
    /// What must be known to read the number right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// What the number is the summary of; drawn by `page`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) distribution: Option<Distribution>,
}

impl Figure {
    pub(super) fn new(name: &str, mode: Mode, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), mode, value, unit: unit.to_owned(), note: None, distribution: None }
    }

    pub(super) fn distribution(mut self, distribution: Distribution) -> Self {
        self.distribution = Some(distribution);
        self
    }

    pub(super) fn note(mut self, text: &str) -> Self {
        self.note = Some(text.to_owned());
        self
    }
}

/// Where figures go.
pub(super) struct Report {
    json: bool,
    modes: Vec<Mode>,
    /// For the table, and for comparing.
    figures: Vec<Figure>,
}

impl Report {
    pub(super) fn new(json: bool, modes: &[Mode]) -> Self {
        Self { json, modes: modes.to_vec(), figures: Vec::new() }
    }

    /// Takes a figure; JSON is printed at once.
    pub(super) fn add(&mut self, figure: Figure) -> io::Result<()> {
        if self.json {
            let mut out = io::stdout().lock();
            serde_json::to_writer(&mut out, &figure)?;
            writeln!(out)?;
            out.flush()?;
        }
        self.figures.push(figure);
        Ok(())
    }

    /// All figures until now.
    pub(super) fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// Prints the table, unless the figures were printed already.
    pub(super) fn finish(&self, quick: bool) -> io::Result<()> {
        if self.json || self.figures.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let names = self.names();
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
        write!(out, "{:<width$}", "workload")?;
        for mode in &self.modes {
            write!(out, "  {mode:>12}")?;
        }
        writeln!(out, "  unit")?;
        for name in names {
            write!(out, "{name:<width$}")?;
            for &mode in &self.modes {
                let value =
                    self.find(name, mode).map_or_else(|| String::from("-"), |figure| number(figure.value));
                write!(out, "  {value:>12}")?;
            }
            let unit =
                self.figures.iter().find(|figure| figure.name == name).map_or("", |figure| &figure.unit);
            writeln!(out, "  {unit}")?;
        }
        for figure in &self.figures {
            if let Some(note) = &figure.note {
                writeln!(out, "{} ({}): {note}", figure.name, figure.mode)?;
            }
        }
        if quick {
            writeln!(out, "--quick: sizes are smaller than the names say.")?;
        }
        Ok(())
    }

    /// The names, in the order of their first figures.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
        names
    }

    fn find(&self, name: &str, mode: Mode) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name && figure.mode == mode)
    }
}

/// Three digits that matter, or all before the point.
pub(super) fn number(value: f64) -> String {
    let decimals = if value.abs() < 100.0 { 1 } else { 0 };
    format!("{value:.decimals$}")
}
