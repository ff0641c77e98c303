//! Figures beside those of an earlier run: `--compare`. Called by the runner.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::report::{Figure, number};

/// The figures that `bench --json` has printed into a file.
pub(super) fn read(path: &Path) -> io::Result<Vec<Figure>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let text = fs::read_to_string(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            invalid(format!(
                "{}:{}: {error}; it should be what `bench --json` prints",
                path.display(),
                number + 1
            ))
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// Prints both, and how many times as large as before each is.
pub(super) fn print(before: &[Figure], now: &[Figure]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let width = now.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
    writeln!(out, "\n{:<width$}  mode  {:>12}  {:>12}  {:>6}  unit", "workload", "before", "now", "ratio")?;
    for figure in now {
        let old = before.iter().find(|old| old.name == figure.name && old.mode == figure.mode);
        let (value, ratio) = match old {
            Some(old) if old.unit == figure.unit => {
                let ratio = if old.value == 0.0 {
                    String::from("-")
                } else {
                    format!("{:.2}", figure.value / old.value)
                };
                (number(old.value), ratio)
            }
            _ => (String::from("-"), String::from("-")),
        };
        let (name, mode, unit) = (&figure.name, figure.mode, &figure.unit);
        writeln!(
            out,
            "{name:<width$}  {mode:<4}  {value:>12}  {:>12}  {ratio:>6}  {unit}",
            number(figure.value)
        )?;
    }
    let gone =
        before.iter().filter(|old| !now.iter().any(|new| new.name == old.name && new.mode == old.mode));
    writeln!(out, "{} figures of before were not measured now.", gone.count())
}
