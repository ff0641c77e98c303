//! A cache that lives long and changes all the time: goroutines ask for entries, put missing ones in, and drop old ones. Entries refer to each other, so with counted pointers they would leak; here nobody
//! frees anything, and memory stays bounded.
//!
//! ```sh
//! cargo run --release --example gc_cache
//! ```

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use greenroutine::gc::{self, SlotOption};
use greenroutine::sync::Mutex;
use greenroutine::{Gc, go};

/// Entries that the cache holds at most.
const ENTRIES: usize = 20_000;
/// Keys that are asked for.
const KEYS: usize = 100_000;
const REQUESTS: usize = 400_000;
const GOROUTINES: usize = 4;

/// What the cache keeps: a text, and a link to the entry that was asked for before it. Links go round in circles.
struct Entry {
    key: usize,
    text: Gc<str>,
    before: SlotOption<Entry>,
}

struct Cache {
    places: Vec<Mutex<Option<Gc<Entry>>>>,
    hits: AtomicUsize,
}

impl Cache {
    fn new() -> Self {
        Self { places: (0..ENTRIES).map(|_| Mutex::new(None)).collect(), hits: AtomicUsize::new(0) }
    }

    /// The entry of a key: the one that is there, or a new one in place of another.
    fn get(&self, key: usize) -> Gc<Entry> {
        let mut place = self.places[key % ENTRIES].lock();
        if let Some(entry) = place.filter(|entry| entry.key == key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return entry;
        }
        let text = format!("entry {key}, with {} bytes of text behind it: {:>1$}", key % 200, key % 200);
        *place.insert(Gc::new(Entry { key, text: Gc::from(text.as_str()), before: SlotOption::empty() }))
    }
}

fn requests(cache: &Cache, seed: u64) {
    let mut state = seed;
    let mut last: Option<Gc<Entry>> = None;
    for _ in 0..REQUESTS / GOROUTINES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Small keys are asked for more often.
        let key = ((state >> 33) as usize % KEYS) * ((state >> 13) as usize % KEYS) / KEYS;
        let entry = cache.get(key);
        assert!(entry.text.starts_with("entry "), "an entry that is held is whole");
        // Two links, so that circles form, and no chain gets longer than that.
        if let Some(last) = last {
            last.before.store(Some(entry));
            entry.before.store(Some(last));
        }
        last = if key.is_multiple_of(8) { None } else { Some(entry) };
    }
}

fn main() -> ExitCode {
    let cache = Cache::new();
    greenroutine::run(|| {
        greenroutine::scope(|scope| {
            for number in 0..GOROUTINES {
                let cache = &cache;
                scope.go(move || requests(cache, number as u64 + 1));
            }
        });
        // A goroutine of its own, so that nothing of the requests is left on this stack.
        go(gc::collect).join().expect("a cycle does not panic");
    });
    let stats = gc::stats();
    println!("{REQUESTS} requests, {} hits", cache.hits.load(Ordering::Relaxed));
    println!("{} MiB allocated, {} MiB alive at the end", stats.allocated_total >> 20, stats.heap_live >> 20);
    println!("{} cycles by {}, longest pause {:.0?}", stats.cycles, stats.backend, stats.pauses.max());
    ExitCode::SUCCESS
}
