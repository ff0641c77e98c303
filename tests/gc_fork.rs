//! Collection in the child of a fork: it has a thread of its own there, and sees what the parent had.
#![cfg(feature = "gc")]

use greenroutine::{Gc, gc};

/// Exits with 0 if `work` holds in a child process.
fn holds_in_a_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls what may be called after a fork of a process with threads: this crate's heap is made for that, and std's is this one.
    match unsafe { libc::fork() } {
        0 => {
            let code = if work() { 0 } else { 1 };
            // SAFETY: ends the child without running the test harness's code again.
            unsafe { libc::_exit(code) }
        }
        child => {
            assert!(child > 0, "fork");
            let mut status = 0;
            // SAFETY: the status is writable.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

fn list(length: usize) -> Vec<Gc<[usize; 3]>> {
    (0..length).map(|n| Gc::new([n, n * 2, n * 3])).collect()
}

fn is_whole(list: &[Gc<[usize; 3]>]) -> bool {
    list.iter().enumerate().all(|(n, gc)| **gc == [n, n * 2, n * 3])
}

fn collects() -> bool {
    let before = gc::stats().cycles;
    let mine = list(1000);
    for _ in 0..300_000 {
        Gc::new([0_usize; 4]);
    }
    gc::collect();
    is_whole(&mine) && gc::stats().cycles > before
}

// One test: while it forks, nothing else in this process may hold a lock of std's.
#[test]
fn a_child_collects_and_so_does_its_child() {
    let kept = list(10_000);
    gc::collect();
    for _ in 0..10 {
        assert!(holds_in_a_child(|| collects() && is_whole(&kept)));
    }
    assert!(holds_in_a_child(|| collects()
        && holds_in_a_child(|| collects() && is_whole(&kept))
        && collects()));
    // The parent's own goes on, watched by what is its own.
    assert!(collects() && is_whole(&kept));
}
