//! `greenroutine doctor`: the findings of [`greenroutine::runtime::doctor`] as text. Called by `main`.

use std::io::{self, Write};

use greenroutine::Runtime;
use greenroutine::runtime;

/// Prints the findings, limits with their fix, and a last line that sums up.
pub(super) fn run() -> io::Result<()> {
    // Some of what is looked at exists only once a runtime runs. If none can, the findings say why.
    let trial = Runtime::builder().workers(1).build();
    let findings = runtime::doctor();
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for finding in &findings {
        let mark = if finding.is_limit { '!' } else { ' ' };
        writeln!(out, "{mark} {:<width$}  {}", finding.subject, finding.text)?;
        if let Some(fix) = &finding.fix {
            writeln!(out, "  {:<width$}  fix: {fix}", "")?;
        }
    }
    if let Err(error) = trial {
        writeln!(out, "! {:<width$}  cannot start: {error}", "runtime")?;
    }
    match findings.iter().filter(|finding| finding.is_limit).count() {
        0 => writeln!(out, "Nothing limits goroutines here."),
        1 => writeln!(out, "One limit, marked with !."),
        limits => writeln!(out, "{limits} limits, marked with !."),
    }
}
