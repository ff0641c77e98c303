//! Collection where the kernel's help fails, is taken away, or is not believed: every write is still seen, and nothing that is reached is freed. Each test in a process of its own.
#![cfg(feature = "gc")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{in_child, is_child, text};
use greenroutine::gc::{self, Backend, SlotOption};
use greenroutine::{Gc, Runtime, yield_now};

/// A node whose contents show whether it was freed: what is freed is overwritten (`check=poison`).
struct Node {
    value: u64,
    check: u64,
    next: SlotOption<Node>,
}

fn check(value: u64) -> u64 {
    value.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED
}

fn node(value: u64) -> Gc<Node> {
    Gc::new(Node { value, check: check(value), next: SlotOption::default() })
}

fn is_whole(node: Gc<Node>) -> bool {
    node.check == check(node.value)
}

/// Places that live for as long as a storm does, each with a chain of which a few nodes change all the time.
struct Field {
    places: Gc<[Gc<Node>]>,
    is_over: AtomicBool,
    writes: AtomicU64,
}

const PLACES: usize = 10_000;
const WRITERS: u64 = 4;

impl Field {
    fn new() -> Self {
        let places = (0..PLACES as u64).map(node).collect();
        Self { places, is_over: AtomicBool::new(false), writes: AtomicU64::new(0) }
    }

    /// Hangs new nodes in, moves what hangs at one place to another with nothing between, and looks at what it passes.
    fn write(&self, mut seed: u64, pause: fn()) {
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        while !self.is_over.load(Ordering::Relaxed) {
            for _ in 0..100 {
                let (from, to) = (self.places[random() % PLACES], self.places[random() % PLACES]);
                assert!(is_whole(from) && is_whole(to));
                let moved = from.next.load();
                from.next.store(Some(node(random() as u64)));
                if let Some(moved) = moved {
                    assert!(is_whole(moved));
                    moved.next.store(None);
                }
                to.next.store(moved);
                self.writes.fetch_add(1, Ordering::Relaxed);
            }
            pause();
        }
    }

    fn is_whole(&self) -> bool {
        self.places.iter().all(|place| is_whole(*place) && place.next.load().is_none_or(is_whole))
    }
}

/// Threads and goroutines write while `work` runs, which collects.
fn storm(work: impl FnOnce()) {
    let field = Field::new();
    let runtime = Runtime::builder().workers(2).build().expect("a runtime");
    std::thread::scope(|threads| {
        for seed in 0..WRITERS / 2 {
            let field = &field;
            threads.spawn(move || field.write(seed, std::thread::yield_now));
        }
        let field = &field;
        threads.spawn(move || {
            runtime.run(|| {
                greenroutine::scope(|scope| {
                    for seed in WRITERS / 2..WRITERS {
                        scope.go(move || field.write(seed, yield_now));
                    }
                })
            })
        });
        while field.writes.load(Ordering::Relaxed) < 1000 {
            std::thread::yield_now();
        }
        work();
        field.is_over.store(true, Ordering::Relaxed);
    });
    assert!(field.is_whole());
    gc::collect();
    assert!(field.is_whole());
}

fn collect_often() {
    (0..10).for_each(|_| gc::collect());
}

/// Whether this kernel lets the collector watch writes.
fn is_watched() -> bool {
    gc::stats().backend == Backend::Uffd
}

/// Runs a test's child with `GREENROUTINE_GC=check=poison` and more; what it has written.
fn survives(name: &str, checks: &str) -> String {
    let output = in_child(name, |command| {
        command.env("GREENROUTINE_GC", format!("check=poison,{checks}"));
    });
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn every_page_that_changes_is_told_of() {
    const NAME: &str = "every_page_that_changes_is_told_of";
    if is_child(NAME) {
        return storm(collect_often);
    }
    survives(NAME, "check=dirty");
    survives(NAME, "check=dirty,check=noscan,backend=stw");
}

#[test]
fn a_hidden_reference_is_pointed_out() {
    const NAME: &str = "a_hidden_reference_is_pointed_out";
    if is_child(NAME) {
        #[inline(never)]
        fn hide() -> Vec<u8> {
            let hidden = std::ptr::from_ref::<Node>(&node(1)) as usize;
            // Where no word lies.
            let mut bytes = vec![0_u8; 101];
            bytes[3..11].copy_from_slice(&hidden.to_ne_bytes());
            bytes
        }
        let hiding: Vec<Vec<u8>> = (0..8).map(|_| hide()).collect();
        common::clear_stack();
        gc::collect();
        return drop(hiding);
    }
    let said = survives(NAME, "check=noscan");
    assert!(said.contains("check=noscan: the bytes at 0x") && said.contains("of 32 bytes at 0x"), "{said}");
    let said = survives(NAME, "check=dirty");
    assert!(!said.contains("noscan"), "{said}");
}

#[test]
fn descriptors_are_closed_under_the_collector() {
    const NAME: &str = "descriptors_are_closed_under_the_collector";
    if is_child(NAME) {
        return storm(|| {
            collect_often();
            let watched = is_watched();
            // SAFETY: what a program does that wants no descriptor to reach those it starts. Nothing that this test uses has one: the runtime that lives is waited for with futexes.
            assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
            collect_often();
            assert!(!watched || gc::stats().backend == Backend::Stw);
        });
    }
    survives(NAME, "trace=0");
}

/// Has the kernel refuse a system call from now on, in all threads; `command`: only if that is its second argument.
fn refuse(call: libc::c_long, commands: &[u32]) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, equals, end) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET,
    );
    let (allow, eperm) = (
        step(end, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(end, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    );
    // The number of the call, and the low half of its second argument, as the kernel lays them out.
    let (number, second) = (0, 24);
    let mut filter = vec![step(load, 0, 0, number), step(equals, 1, 0, call as u32), allow];
    if !commands.is_empty() {
        filter.push(step(load, 0, 0, second));
        for command in commands {
            filter.extend([step(equals, 0, 1, *command), eperm]);
        }
        filter.push(allow);
    }
    filter.push(eperm);
    let mut program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
    // SAFETY: the program lives until the call is over, and what it refuses is refused with an error.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw mut program) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_filter_takes_the_watch_away_before() {
    const NAME: &str = "a_filter_takes_the_watch_away_before";
    if is_child(NAME) {
        refuse(libc::SYS_userfaultfd, &[]);
        storm(collect_often);
        let stats = gc::stats();
        assert_eq!(stats.backend, Backend::Stw);
        return assert!(stats.why.contains("userfaultfd"), "{}", stats.why);
    }
    survives(NAME, "trace=0");
}

#[test]
fn a_filter_takes_the_watch_away_meanwhile() {
    const NAME: &str = "a_filter_takes_the_watch_away_meanwhile";
    /// `UFFDIO_WRITEPROTECT` and `PAGEMAP_SCAN`.
    const COMMANDS: [u32; 2] = [0xC018_AA06, 0xC060_6610];
    if is_child(NAME) {
        return storm(|| {
            collect_often();
            let watched = is_watched();
            refuse(libc::SYS_ioctl, &COMMANDS);
            collect_often();
            assert!(!watched || gc::stats().backend == Backend::Stw);
        });
    }
    let said = survives(NAME, "trace=0");
    assert!(!said.contains("lost"), "{said}");
}

#[test]
fn a_daemon_collects() {
    const NAME: &str = "a_daemon_collects";
    if is_child(NAME) {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        let kept: Vec<_> = (0..10_000).map(node).collect();
        gc::collect();
        // SAFETY: the children call what may be called after a fork of a process with threads: this crate's heap is made for that, and std's is this one.
        if unsafe { libc::fork() } != 0 {
            let mut word = [0_u8; 1];
            // SAFETY: its own, which nobody else has. Without it the end of the others is seen.
            unsafe { libc::close(ends[1]) };
            // SAFETY: room for a byte. The grandchild is nobody's child: it says that it is done.
            let read = unsafe { libc::read(ends[0], word.as_mut_ptr().cast(), 1) };
            return assert_eq!((read, word), (1, [1]));
        }
        // SAFETY: changes what group the process is in.
        assert!(unsafe { libc::setsid() } > 0);
        // SAFETY: as for the first.
        if unsafe { libc::fork() } == 0 {
            let more: Vec<_> = (0..10_000).map(node).collect();
            collect_often();
            let word = [u8::from(kept.iter().chain(&more).all(|node| is_whole(*node)))];
            // SAFETY: a byte.
            unsafe { libc::write(ends[1], word.as_ptr().cast(), 1) };
        }
        // SAFETY: ends this process without running the test harness's code again.
        unsafe { libc::_exit(0) };
    }
    survives(NAME, "check=dirty");
}
