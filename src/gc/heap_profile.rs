//! Which functions allocate the program's memory, and which of it is in use: a sample, of collected objects and of ordinary Rust allocations alike, in the form that `go tool pprof` and its like read.
//!
//! ```
//! use greenroutine::gc::heap_profile;
//!
//! heap_profile::start(heap_profile::DEFAULT_RATE);
//! let kept: Vec<Vec<u64>> = (0..100).map(|n| vec![n; 10_000]).collect();
//! let mut profile = Vec::new();
//! heap_profile::write_pprof(&mut profile)?; // Or a file: then `go tool pprof -http=: heap.pb.gz`
//! heap_profile::stop();
//! assert!(profile.starts_with(&[0x1f, 0x8b]), "gzip");
//! # drop(kept);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What is sampled
//!
//! On average one allocation in [`start`]'s `rate` bytes, each byte with the same chance; the figures that are written are estimates of the whole, as Go's are, and right on average whatever the sizes are. A
//! figure that rests on n samples is off by its share of 1 / sqrt(n). Sizes are rounded up to the heap's size classes. Memory that was allocated before [`start`] is not seen, nor what is not of this crate's
//! [heap](crate::heap): mapped files, what C code allocates, stacks.
//!
//! A collected object is in use until a cycle finds that it is not: for exact figures call [`collect`](super::collect) before. A block that grows within its size class counts with that class all the time.
//!
//! # Cost
//!
//! None while it is off. While it is on, every free of an ordinary allocation takes the heap's slow path, which is about 5 ns more; allocating is as fast as before, and collected objects cost nothing.
//! Beside that one sample takes about 8 µs, and its memory stays until the process ends: 16 to 64 bytes for each that is live, and up to 360 for each site. The functions are found by the tables for unwinding, and named
//! when the profile is written; with the feature `backtrace` off, there are none.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};

use crate::frames;
use crate::go;
use crate::heap::sample::{self, Frames, Sampled, Site};
use crate::pprof::{Label, Profile};
use crate::routine::slot;
use crate::sys::{clock, thread};

/// Bytes between two samples, on average, that cost next to nothing and show what matters: Go's default, 512 KiB.
pub const DEFAULT_RATE: usize = 512 * 1024;

/// Sites that a [`Growth`] shows when it is printed.
const SHOWN: usize = 10;

/// Begins to sample: on average one allocation in `rate` bytes; with 1, or 0, every one. What was sampled before is forgotten.
///
/// Threads take part from their next few allocations on. Where the crate's heap is not the program's allocator nothing is sampled, which [`write_pprof`] says.
pub fn start(rate: usize) {
    frames::prepare();
    sample::start(rate, clock::now_ns(), capture);
}

/// Ends the sampling. What was sampled can still be written; it does not change any more.
pub fn stop() {
    sample::stop();
}

/// The frames of who allocates. Inside an allocation: allocates nothing.
fn capture(into: &mut Frames) -> usize {
    let end = slot::current().map_or_else(thread::stack_end, |slot| slot.stack.address());
    frames::capture(into, end)
}

/// Writes what was sampled since [`start`], as Go's `heap` profile: gzipped `profile.proto` with the values `alloc_objects`, `alloc_space`, `inuse_objects` and `inuse_space`.
///
/// # Blocking
///
/// Looks up names, which takes a second for a large program. Parks the calling goroutine, or blocks the calling thread.
///
/// # Errors
///
/// Those of the writer; and if the crate's heap is not the program's allocator.
pub fn write_pprof(writer: impl Write) -> io::Result<()> {
    let mut text = Vec::new();
    let sampled = read()?;
    let mut profile = Profile::new(
        &[
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ],
        ("space", "bytes"),
        sampled.mean as u64,
    );
    go::blocking(|| {
        for site in &sampled.sites {
            let all = estimate(&sampled, site, site.allocated);
            let in_use = estimate(&sampled, site, site.in_use);
            let values = [all.0, all.1, in_use.0, in_use.1];
            profile.sample(
                &site.frames,
                &values,
                &[("bytes", Label::Bytes(site.bytes as u64))],
                frames::names,
            );
        }
        profile.write(&mut text)
    })?;
    let mut writer = writer;
    writer.write_all(&text)?;
    writer.flush()
}

fn read() -> io::Result<Sampled> {
    if !crate::heap::stats().is_in_charge {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the heap profile shows greenroutine's heap, which is not this program's allocator; `greenroutine doctor` says why",
        ));
    }
    // For the next samples: what was loaded since.
    frames::prepare();
    Ok(sample::read())
}

/// Objects, and their bytes, that so many samples of a site stand for.
fn estimate(sampled: &Sampled, site: &Site, samples: u64) -> (u64, u64) {
    let chance = -(-(site.bytes as f64) / sampled.mean as f64).exp_m1();
    let objects = samples as f64 / chance;
    (objects.round() as u64, (objects * site.bytes as f64).round() as u64)
}

/// The memory in use at one moment, by the functions that allocated it: [`snapshot`].
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Objects and bytes, by frames.
    in_use: HashMap<Vec<u64>, (u64, u64)>,
}

/// What is in use now, as sampled since [`start`], to compare with later: [`growth_since`].
///
/// # Errors
///
/// If the crate's heap is not the program's allocator.
pub fn snapshot() -> io::Result<Snapshot> {
    let sampled = read()?;
    let mut in_use = HashMap::new();
    for site in &sampled.sites {
        let (objects, bytes) = estimate(&sampled, site, site.in_use);
        let sum: &mut (u64, u64) = in_use.entry(site.frames.clone()).or_default();
        *sum = (sum.0 + objects, sum.1 + bytes);
    }
    Ok(Snapshot { in_use })
}

/// Where memory has grown between two moments: [`growth_since`]. Prints the ten sites that grew most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Growth {
    /// Sites whose memory in use has grown, those that grew most first.
    pub sites: Vec<GrownSite>,
}

/// A site of [`Growth`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GrownSite {
    /// Objects in use now beyond those of then; estimated.
    pub objects: i64,
    /// Bytes in use now beyond those of then; estimated.
    pub bytes: u64,
    /// Bytes in use now; estimated.
    pub in_use: u64,
    /// The functions that allocate, the innermost first, with their places; of the first few sites only, because names take long to look up.
    pub functions: Vec<String>,
}

/// Compares the memory in use now with that of `before`.
///
/// # Errors
///
/// As [`snapshot`].
///
/// # Examples
///
/// ```
/// use greenroutine::gc::heap_profile;
///
/// heap_profile::start(1024);
/// let before = heap_profile::snapshot()?;
/// let leak: Vec<u8> = vec![0; 10 << 20];
/// let growth = heap_profile::growth_since(&before)?;
/// heap_profile::stop();
/// println!("{growth}");
/// assert!(growth.sites[0].bytes >= 10 << 20);
/// # drop(leak);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn growth_since(before: &Snapshot) -> io::Result<Growth> {
    let now = snapshot()?;
    let mut grown: Vec<_> = now
        .in_use
        .into_iter()
        .filter_map(|(frames, (objects, bytes))| {
            let (objects_then, bytes_then) = before.in_use.get(&frames).copied().unwrap_or_default();
            let site = GrownSite {
                objects: objects as i64 - objects_then as i64,
                bytes: bytes.checked_sub(bytes_then).filter(|bytes| *bytes > 0)?,
                in_use: bytes,
                functions: Vec::new(),
            };
            Some((frames, site))
        })
        .collect();
    grown.sort_unstable_by(|a, b| (b.1.bytes, &a.0).cmp(&(a.1.bytes, &b.0)));
    go::blocking(|| {
        for (frames, site) in grown.iter_mut().take(SHOWN) {
            site.functions = frames
                .iter()
                .flat_map(|frame| frames::names(*frame))
                .map(|symbol| symbol.to_string())
                .collect();
        }
    });
    Ok(Growth { sites: grown.into_iter().map(|(_, site)| site).collect() })
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.sites.iter().map(|site| site.bytes).sum();
        writeln!(f, "{bytes} bytes more in use, of {} sites", self.sites.len())?;
        for site in self.sites.iter().take(SHOWN) {
            writeln!(f, "\n{:+} objects, +{} bytes, {} bytes in use", site.objects, site.bytes, site.in_use)?;
            site.functions.iter().try_for_each(|function| writeln!(f, "    {function}"))?;
        }
        Ok(())
    }
}
