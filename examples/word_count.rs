//! Counts the words of every text file below a directory: `word_count DIR [--check] [--top N]`.
//!
//! One goroutine per directory and one per file. A file's goroutine reads it whole, so at most one file per worker is open at a time; a
//! directory's goroutine joins those below it and adds their counts up. Symbolic links are not followed, except `DIR` itself. A file that is
//! not UTF-8 is counted as skipped; one that cannot be read is reported, and the rest goes on.
//!
//! Prints the totals and the `N` (10) most frequent words. With `--check` counts once more without goroutines, prints that time as well, and
//! ends with status 1 if the two differ.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use greenroutine::go;

#[derive(Default, PartialEq, Eq)]
struct Counts {
    words: HashMap<String, u64>,
    files: u64,
    skipped: u64,
    unreadable: u64,
}

impl Counts {
    fn add(&mut self, mut other: Self) {
        // The larger map takes the smaller one in.
        if self.words.len() < other.words.len() {
            std::mem::swap(&mut self.words, &mut other.words);
        }
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
        self.files += other.files;
        self.skipped += other.skipped;
        self.unreadable += other.unreadable;
    }

    fn unreadable(path: &Path, error: &io::Error) -> Self {
        eprintln!("word_count: {}: {error}", path.display());
        Self { unreadable: 1, ..Self::default() }
    }
}

/// What counts as a word: letters and digits, in lower case.
fn count_words(text: &str) -> HashMap<String, u64> {
    let mut words: HashMap<String, u64> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let is_mixed = word.contains(char::is_uppercase);
        let word = if is_mixed { Cow::Owned(word.to_lowercase()) } else { Cow::Borrowed(word) };
        match words.get_mut(&*word) {
            Some(count) => *count += 1,
            None => {
                words.insert(word.into_owned(), 1);
            }
        }
    }
    words
}

fn count_file(path: &Path) -> Counts {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Counts::unreadable(path, &error),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Counts { words: count_words(&text), files: 1, ..Counts::default() },
        Err(_) => Counts { skipped: 1, ..Counts::default() },
    }
}

/// The directories and the files of a directory; links, sockets and the like are left out.
fn list(directory: &Path, counts: &mut Counts) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            counts.add(Counts::unreadable(directory, &error));
            return (directories, files);
        }
    };
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok((path, kind)) if kind.is_dir() => directories.push(path),
            Ok((path, kind)) if kind.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => counts.add(Counts::unreadable(directory, &error)),
        }
    }
    (directories, files)
}

fn count_tree(directory: &Path) -> Counts {
    let mut counts = Counts::default();
    let (directories, files) = list(directory, &mut counts);
    let below: Vec<_> = directories
        .into_iter()
        .map(|path| go(move || count_tree(&path)))
        .chain(files.into_iter().map(|path| go(move || count_file(&path))))
        .collect();
    // The files first: their counts need not be kept until all directories are done.
    for goroutine in below.into_iter().rev() {
        match goroutine.join() {
            Ok(other) => counts.add(other),
            // A panic of a goroutine ends here as it would have without it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    counts
}

fn count_tree_sequentially(directory: &Path) -> Counts {
    let mut counts = Counts::default();
    let (directories, files) = list(directory, &mut counts);
    for path in directories {
        counts.add(count_tree_sequentially(&path));
    }
    for path in files {
        counts.add(count_file(&path));
    }
    counts
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a program's own time, not the library's")]
    let start = Instant::now();
    let value = f();
    (value, start.elapsed())
}

fn print(counts: &Counts, top: usize, time: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let total: u64 = counts.words.values().sum();
    writeln!(out, "{total} words, {} different ones", counts.words.len())?;
    let Counts { files, skipped, unreadable, .. } = counts;
    writeln!(out, "{files} text files; {skipped} skipped (not UTF-8), {unreadable} unreadable")?;
    let mut words: Vec<_> = counts.words.iter().collect();
    // Equal counts in the order of the alphabet, so that the output is always the same.
    words.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (word, count) in words.into_iter().take(top) {
        writeln!(out, "{count:>10} {word}")?;
    }
    writeln!(out, "goroutines: {time:.1?} on {} workers", greenroutine::runtime::workers())
}

struct Arguments {
    directory: PathBuf,
    is_checked: bool,
    top: usize,
}

fn arguments() -> Result<Arguments, String> {
    let (mut directory, mut is_checked, mut top) = (None, false, 10);
    let mut given = env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--check") => is_checked = true,
            Some("--top") => {
                let number = given.next().unwrap_or_default();
                let number = number.to_string_lossy();
                top = number.parse().map_err(|_| format!("--top needs a number, not {number:?}"))?;
            }
            Some(option) if option.starts_with("--") => return Err(format!("no option {option}")),
            _ if directory.is_some() => return Err(String::from("more than one directory")),
            _ => directory = Some(PathBuf::from(argument)),
        }
    }
    let directory = directory.ok_or("which directory?")?;
    Ok(Arguments { directory, is_checked, top })
}

fn main() -> ExitCode {
    let Arguments { directory, is_checked, top } = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("word_count: {error}\nusage: word_count DIR [--check] [--top N]");
            return ExitCode::from(2);
        }
    };
    let (counts, time) = timed(|| greenroutine::run(|| count_tree(&directory)));
    if print(&counts, top, time).is_err() {
        // Nobody reads on: `word_count | head`.
        return ExitCode::SUCCESS;
    }
    if !is_checked {
        return ExitCode::SUCCESS;
    }
    let (expected, time) = timed(|| count_tree_sequentially(&directory));
    eprintln!("sequentially: {time:.1?}");
    if counts != expected {
        eprintln!("word_count: the counts with and without goroutines differ");
        return ExitCode::FAILURE;
    }
    eprintln!("the counts are the same");
    ExitCode::SUCCESS
}
