//! Finds files with the same content, as a pipeline of goroutines:
//!
//! ```text
//!              paths          candidates           digests
//!   walk ──────────▶ by size ────────────▶ read ×8 ─────────▶ compare ──▶ groups
//!        unbounded             64                     64
//! ```
//!
//! The walk *fans out* over directories (a goroutine each), the digests *fan in* from eight readers. Bounded channels keep a fast stage from
//! running ahead of a slow one; a stage ends when the channel it reads from is disconnected, so the end travels down by itself.
//!
//! ```sh
//! cargo run --release --example pipeline -- ~/src
//! ```

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use greenroutine::channel::{Receiver, Sender, bounded, unbounded};
use greenroutine::go;

const READERS: usize = 8;
const AHEAD: usize = 64;

/// A file that was read: its size and the digest of its content.
type Digest = ((u64, u64), PathBuf);

fn main() -> ExitCode {
    let Some(root) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: pipeline DIRECTORY");
        return ExitCode::from(2);
    };
    if let Err(error) = fs::read_dir(&root) {
        eprintln!("pipeline: {}: {error}", root.display());
        return ExitCode::FAILURE;
    }
    let groups = greenroutine::run(|| groups(root));
    let mut wasted = 0;
    for ((size, _), files) in &groups {
        println!("{} files of {size} bytes:", files.len());
        for file in files {
            println!("    {}", file.display());
        }
        wasted += size * (files.len() as u64 - 1);
    }
    println!("{} groups, {wasted} bytes to gain", groups.len());
    ExitCode::SUCCESS
}

/// All groups of equal files below `root`, largest first.
fn groups(root: PathBuf) -> Vec<((u64, u64), Vec<PathBuf>)> {
    let (found, files) = unbounded();
    go(move || walk(&root, &found));
    let candidates = by_size(files);
    let (s, digests) = bounded(AHEAD);
    for _ in 0..READERS {
        let (candidates, s) = (candidates.clone(), s.clone());
        go(move || read_all(&candidates, &s));
    }
    // The readers have their own; ours would keep the channel connected.
    drop((candidates, s));
    let mut groups: HashMap<(u64, u64), Vec<PathBuf>> = HashMap::new();
    for (digest, file) in digests {
        groups.entry(digest).or_default().push(file);
    }
    let mut groups: Vec<_> = groups.into_iter().filter(|(_, files)| files.len() > 1).collect();
    groups.iter_mut().for_each(|(_, files)| files.sort_unstable());
    groups.sort_unstable_by(|a, b| b.cmp(a));
    groups
}

/// Sends the regular files below `directory`, without following links.
fn walk(directory: &Path, found: &Sender<(u64, PathBuf)>) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return eprintln!("pipeline: {}: {error}", directory.display()),
    };
    for entry in entries.flatten() {
        let (path, found) = (entry.path(), found.clone());
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                go(move || walk(&path, &found));
            }
            Ok(metadata) if metadata.is_file() => {
                if found.send((metadata.len(), path)).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("pipeline: {}: {error}", path.display()),
        }
    }
}

/// Lets through the files that are not the only ones of their size.
fn by_size(files: Receiver<(u64, PathBuf)>) -> Receiver<(u64, PathBuf)> {
    let (s, candidates) = bounded(AHEAD);
    go(move || {
        // `None` once the first of its size was sent on.
        let mut first: HashMap<u64, Option<PathBuf>> = HashMap::new();
        for (size, file) in files {
            match first.get_mut(&size) {
                None => {
                    first.insert(size, Some(file));
                }
                Some(waiting) => {
                    for file in waiting.take().into_iter().chain([file]) {
                        if s.send((size, file)).is_err() {
                            return;
                        }
                    }
                }
            }
        }
    });
    candidates
}

fn read_all(files: &Receiver<(u64, PathBuf)>, digests: &Sender<Digest>) {
    for (size, file) in files {
        match digest(&file) {
            Ok(digest) => {
                if digests.send(((size, digest), file)).is_err() {
                    return;
                }
            }
            Err(error) => eprintln!("pipeline: {}: {error}", file.display()),
        }
    }
}

/// A digest that tells files apart unless somebody makes them alike on purpose.
fn digest(file: &Path) -> io::Result<u64> {
    let mut file = File::open(file)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.write(&buffer[..read]),
        }
    }
}
