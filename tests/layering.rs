//! The layers of `src/`, held: who may import whom, where system calls and `unsafe` may stand, what signal handlers may touch. The table is
//! the one of lib.rs. Works on the text, with comments and literals blanked; `$crate::` paths of macros are the callers' and do not count.

use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the modules it may import besides itself. A new module needs a row.
const LAYERS: &[(&str, &[&str])] = &[
    ("arch", &[]),
    ("sys", &["arch"]),
    ("base", &["sys", "arch"]),
    ("stack", &["base", "sys", "arch"]),
    ("timer", &["base"]),
    ("world", &["base", "sys", "arch"]),
    ("frames", &["sys", "arch"]),
    ("pprof", &["frames"]),
    ("heap", &["world", "base", "sys", "arch"]),
    ("routine", &["stack", "timer", "base", "sys", "arch"]),
    ("sched", &["world", "routine", "stack", "timer", "heap", "base", "sys", "arch"]),
    // `go` re-exports `sleep`; `moment` knows nothing of `go`.
    ("moment", &["sched", "routine", "base", "sys"]),
    // Futures of timers have a goroutine that waits.
    ("channel", &["go", "moment", "sched", "routine", "base", "sys"]),
    ("go", &["moment", "sched", "routine", "stack", "base", "sys"]),
    ("sync", &["context", "go", "moment", "sched", "routine", "base", "sys"]),
    ("interop", &["sched", "routine"]),
    // Public as `time`, with `moment`.
    ("alarm", &["channel", "go", "moment", "sched", "routine", "base", "sys"]),
    ("context", &["alarm", "channel", "go", "moment", "base"]),
    // `time` is the public name of `moment`, in signatures that users read.
    ("net", &["moment", "sched", "routine", "base", "sys"]),
    ("fs", &["sched", "sys"]),
    ("io", &["sched"]),
    (
        "gc",
        &[
            "frames", "pprof", "sync", "go", "sched", "routine", "stack", "world", "heap", "base", "sys",
            "arch",
        ],
    ),
    (
        "diag",
        &[
            "frames", "pprof", "gc", "world", "heap", "alarm", "sync", "channel", "moment", "go", "sched",
            "routine", "stack", "timer", "base", "sys", "arch",
        ],
    ),
    (
        "runtime",
        &[
            "diag", "gc", "sync", "channel", "moment", "go", "sched", "routine", "stack", "timer", "heap",
            "base", "sys", "arch",
        ],
    ),
    ("testing", &["runtime", "diag", "go", "moment", "sched", "base", "sys"]),
    // A crate of its own: `crate::` there names its own modules, the library is `greenroutine::`.
    ("bin", &[]),
];

/// May import all: the crate's root, the models that loom checks, which see single files of several layers, and their twins of the scheduler.
const ABOVE_ALL: &[&str] = &["lib", "loom_models", "loom_twins"];

/// What a file that opens with `//! SIGNAL-SAFE` may import of this crate.
const SIGNAL_SAFE: &[&str] = &[
    "arch",
    "base::atomic",
    "stack::geometry",
    "stack::grow",
    "sys::mem",
    // A field's type; the methods are called elsewhere.
    "sys::sanitizer",
    "sys::signal",
    // The error type of `fault::install`, which runs at boot.
    "sys::OsError",
];

/// Modules without `unsafe`; files and folders that say `#![forbid(unsafe_code)]` count as well.
const SAFE: &[&str] = &["src/diag", "src/timer"];

/// One file: its path from the crate's root, its text, and the text with comments and literals blanked.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    fn layer(&self) -> &str {
        let inside = self.path.strip_prefix("src/").expect("a path under src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    fn at(&self, offset: usize, what: &str) -> String {
        let line = self.code[..offset].matches('\n').count() + 1;
        let text = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        format!("{}:{line}: {what}\n    {text}", self.path)
    }

    /// Where `word` stands by itself.
    fn words(&self, word: &str) -> impl Iterator<Item = usize> {
        let around = |at: usize, len: usize| {
            let is_part = |c: char| c == '_' || c == '$' || c.is_alphanumeric();
            self.code[..at].ends_with(is_part) || self.code[at + len..].starts_with(is_part)
        };
        self.code
            .match_indices(word)
            .map(|(at, w)| (at, w.len()))
            .filter(move |&(at, len)| !around(at, len))
            .map(|(at, _)| at)
    }

    /// The paths that begin with `root::` (`crate` or `super`), each with its place; groups in braces are spelled out.
    fn paths(&self, root: &str) -> Vec<(usize, String)> {
        let mut out = Vec::new();
        for at in self.words(root) {
            let mut rest = self.code[at + root.len()..].trim_start();
            if let Some(after) = rest.strip_prefix("::") {
                rest = after;
                let mut paths = Vec::new();
                use_tree(&mut rest, "", &mut paths);
                out.extend(paths.into_iter().map(|path| (at, path)));
            }
        }
        out
    }
}

/// Reads `a::b`, `a::{b, c::d}` or `*` from `rest` and adds the full paths to `out`.
fn use_tree(rest: &mut &str, prefix: &str, out: &mut Vec<String>) {
    *rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        *rest = inside.trim_start();
        while !rest.is_empty() && !rest.starts_with('}') {
            use_tree(rest, prefix, out);
            // Past ` as name` and the comma.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            *rest = rest[end..].trim_start_matches(',').trim_start();
        }
        *rest = rest.strip_prefix('}').unwrap_or(rest);
        return;
    }
    let end = rest.find(|c: char| c != '_' && c != '*' && !c.is_alphanumeric()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
    match after.trim_start().strip_prefix("::") {
        Some(deeper) if !name.is_empty() && !deeper.starts_with('<') => {
            *rest = deeper;
            use_tree(rest, &path, out);
        }
        _ => out.push(if name == "self" { prefix.to_owned() } else { path }),
    }
}

/// The same text with comments, strings and characters as spaces; lines stay where they are.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before_is_name = out.ends_with(|c: char| c == '_' || c.is_alphanumeric());
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == 'r' && !before_is_name && rest[1..].trim_start_matches('#').starts_with('"') {
            let hashes = rest[1..].find('"').unwrap_or(0);
            let end = format!("\"{}", "#".repeat(hashes));
            rest[2 + hashes..].find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len())
        } else if first == '\'' && is_char(rest) {
            quoted(rest, '\'')
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[skip..];
    }
    out
}

/// A character, not a lifetime: escaped, or closed after one.
fn is_char(rest: &str) -> bool {
    rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    files.sort();
    assert!(files.len() > 40, "this test is about the files under src/, and found {}", files.len());
    let read = |file: &PathBuf| fs::read_to_string(file).expect("sources are text");
    let name = |file: &PathBuf| file.strip_prefix(root).expect("below the root").display().to_string();
    files.iter().map(|file| Source::new(&name(file), &read(file))).collect()
}

fn layers(source: &Source) -> Vec<String> {
    let layer = source.layer();
    let is_above = ABOVE_ALL.contains(&layer);
    let Some((_, allowed)) = LAYERS.iter().find(|(module, _)| is_above || *module == layer) else {
        return vec![format!("{}: no row in LAYERS for `{layer}`", source.path)];
    };
    let mut paths = source.paths("crate");
    if source.path == format!("src/{layer}/mod.rs") {
        // There `super` is the crate's root (or, inside `mod tests`, the module itself).
        paths.extend(source.paths("super"));
    }
    let mut out = Vec::new();
    for (at, path) in paths {
        let to = path.split("::").next().unwrap_or_default();
        let is_module = LAYERS.iter().any(|(module, _)| *module == to);
        if is_module && !is_above && to != layer && !allowed.contains(&to) {
            out.push(source.at(at, &format!("`{layer}` may not import `{to}`")));
        }
    }
    out.extend(
        source
            .paths("super")
            .into_iter()
            .filter(|(_, path)| path.starts_with("super"))
            .map(|(at, _)| source.at(at, "`super::super`: write `crate::` instead")),
    );
    let is_bin = layer == "bin";
    out.extend(
        source
            .words("path")
            .filter(|&at| is_bin && source.code[..at].ends_with("#["))
            .map(|at| source.at(at, "the binary uses the library's public paths only")),
    );
    out
}

fn system_calls(source: &Source) -> Vec<String> {
    let is_sys = source.path.starts_with("src/sys/");
    source.words("libc").filter(|_| !is_sys).map(|at| source.at(at, "`libc` outside src/sys")).collect()
}

fn signal_safety(source: &Source) -> Vec<String> {
    if !source.text.starts_with("//! SIGNAL-SAFE") {
        return Vec::new();
    }
    let here = source.layer();
    let mut paths = source.paths("crate");
    paths.extend(source.paths("super").into_iter().map(|(at, path)| (at, format!("{here}::{path}"))));
    // `use super::*` of the unit tests.
    paths.retain(|(_, path)| *path != format!("{here}::*"));
    let is_allowed =
        |path: &str| SIGNAL_SAFE.iter().any(|good| path == *good || path.starts_with(&format!("{good}::")));
    let bad = paths.into_iter().filter(|(_, path)| !is_allowed(path));
    bad.map(|(at, path)| source.at(at, &format!("a signal handler may not touch `{path}`"))).collect()
}

fn opening(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        Vec::new()
    } else {
        vec![format!("{}:1: a file opens with `//! `", source.path)]
    }
}

/// The folders and files in which no `unsafe` may stand.
fn safe_places(sources: &[Source]) -> Vec<String> {
    let says = sources.iter().filter(|source| source.code.contains("#![forbid(unsafe_code)]"));
    let named = says.map(|source| source.path.trim_end_matches("/mod.rs").to_owned());
    SAFE.iter().map(|place| (*place).to_owned()).chain(named).collect()
}

fn unsafety(source: &Source, places: &[String]) -> Vec<String> {
    let is_inside = |place: &String| source.path == *place || source.path.starts_with(&format!("{place}/"));
    if !places.iter().any(is_inside) {
        return Vec::new();
    }
    source.words("unsafe").map(|at| source.at(at, "`unsafe` in a module without")).collect()
}

fn check(found: Vec<String>) {
    assert!(found.is_empty(), "{} offences\n{}", found.len(), found.join("\n"));
}

#[test]
fn imports_point_down() {
    check(sources().iter().flat_map(layers).collect());
}

#[test]
fn every_layer_exists() {
    let sources = sources();
    let gone = LAYERS.iter().filter(|(module, _)| !sources.iter().any(|source| source.layer() == *module));
    check(gone.map(|(module, _)| format!("LAYERS has a row for `{module}`, which is not there")).collect());
}

#[test]
fn system_calls_stand_in_sys() {
    check(sources().iter().flat_map(system_calls).collect());
}

#[test]
fn signal_handlers_touch_only_what_they_may() {
    let sources = sources();
    assert!(
        sources.iter().any(|source| source.text.starts_with("//! SIGNAL-SAFE")),
        "the marker has changed"
    );
    check(sources.iter().flat_map(signal_safety).collect());
}

#[test]
fn every_file_says_what_it_is_for() {
    check(sources().iter().flat_map(opening).collect());
}

#[test]
fn modules_without_unsafe_have_none() {
    let sources = sources();
    let places = safe_places(&sources);
    check(sources.iter().flat_map(|source| unsafety(source, &places)).collect());
}

#[test]
fn the_checks_find_what_they_are_for() {
    let find = |path: &str, text: &str| layers(&Source::new(path, text));
    let found =
        find("src/stack/x.rs", "//! x\nuse crate::{base::{lock, fence as f}, sched::Core,\n    sys};\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("src/stack/x.rs:2: `stack` may not import `sched`"), "{}", found[0]);
    assert_eq!(find("src/sys/mem.rs", "fn f() { crate :: base::fatal!(\"\") }").len(), 1);
    assert_eq!(find("src/sys/mod.rs", "use super::stack;").len(), 1);
    assert_eq!(find("src/go/a.rs", "use super::super::runtime;").len(), 1);
    assert_eq!(find("src/bin/g/main.rs", "#[path = \"../../sched/mod.rs\"] mod sched;").len(), 1);
    assert_eq!(find("src/other.rs", "").len(), 1);
    let harmless = "// crate::runtime\n/* crate::go /* */ crate::go */ fn f<'a>(c: char) { g(\"crate::go\", '\"', r#\"crate::go\"#); \
                    h!($crate::runtime::X); crate::base::X; crate::sys::{self, mem}; }";
    assert_eq!(find("src/stack/x.rs", harmless), Vec::<String>::new());

    assert_eq!(system_calls(&Source::new("src/go/a.rs", "// libc::x\nlibc::getpid();")).len(), 1);
    assert_eq!(system_calls(&Source::new("src/sys/a.rs", "libc::getpid();")).len(), 0);

    let handler =
        "//! SIGNAL-SAFE. x\nuse super::{arena, geometry::{self, X}};\nuse crate::sys::{OsError, futex};";
    let found = signal_safety(&Source::new("src/stack/fault.rs", handler));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("sys::futex") && found[1].contains("stack::arena"), "{found:?}");

    let sources = [
        Source::new("src/a/mod.rs", "#![forbid(unsafe_code)]"),
        Source::new("src/a/b.rs", "// unsafe\nunsafe {}"),
        Source::new("src/c/b.rs", "unsafe {}"),
    ];
    let places = safe_places(&sources);
    assert_eq!(sources.iter().flat_map(|source| unsafety(source, &places)).count(), 1);
    assert_eq!(opening(&Source::new("src/a/b.rs", "fn main() {}")).len(), 1);
}
