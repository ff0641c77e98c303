//! The goroutines of a runtime as a profile in pprof's form: Go's `goroutine` profile. What `dump` writes as text, with a sample for each group of goroutines that are alike. Called by `runtime`.

use std::collections::HashMap;
use std::io::{self, Write};

use super::dump::{self, Below};
use super::frames::Walker;
use crate::frames::{self, Symbol};
use crate::pprof::{Label, Profile};
use crate::sched::Core;

/// Goroutines that are alike, but for their number.
type Group = (Below, Option<String>);

/// Writes the goroutines that have not ended. They go on meanwhile.
pub(crate) fn write_pprof(core: &Core, mut writer: impl Write) -> io::Result<()> {
    let made = dump::beside_the_caller(|me| {
        let mut text = Vec::new();
        let mut groups: HashMap<Group, u64> = HashMap::new();
        dump::for_each(core, me, &mut Walker::new(), |task, _, below| {
            *groups.entry((below, task.name().map(|name| name.to_string()))).or_default() += 1;
        });
        profile(groups).write(&mut text).map(|()| text)
    });
    let text = made.map_err(io::Error::other)??;
    writer.write_all(&text)?;
    writer.flush()
}

fn profile(groups: HashMap<Group, u64>) -> Profile {
    let kind = ("goroutine", "count");
    let mut profile = Profile::new(&[kind], kind, 1);
    let mut groups: Vec<_> = groups.into_iter().collect();
    // The most first; else as they come.
    groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut known: HashMap<u64, Vec<Symbol>> = HashMap::new();
    for (nowhere, ((below, name), count)) in (0..).map(|number| u64::MAX - number).zip(groups) {
        let spawned = below.site.to_string();
        let mut labels = vec![("state", Label::Text(below.state)), ("spawned at", Label::Text(&spawned))];
        labels.extend(name.as_deref().map(|name| ("name", Label::Text(name))));
        // A sample without any frame would not be shown. No code is at such an address.
        let state = || Symbol {
            function: format!("[{}]", below.state),
            file: Some(below.site.file().to_owned()),
            line: Some(below.site.line()),
        };
        let mut shown = false;
        for frame in &below.frames {
            shown |= !known.entry(*frame).or_insert_with(|| frames::names(*frame)).is_empty();
        }
        let all = if shown { below.frames.as_slice() } else { &[nowhere] };
        profile.sample(all, &[count], &labels, |frame| {
            known.get(&frame).cloned().unwrap_or_else(|| vec![state()])
        });
    }
    profile
}
