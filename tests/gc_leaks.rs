//! `gc::leaks`: goroutines that wait for ever are reported, those that somebody can still wake are not. `gc::why_alive`: what keeps an object.
//!
//! The programs are the shapes of the bugs that GoBench (Yuan and others, "GoBench: A Benchmark Suite of Real-World Go Concurrency Bugs", CGO 2021) collects, written anew from what it says of each;
//! they have the numbers of the pull requests that mended the originals.
//!
//! A stale word may hide a leak from one look, never add one. So each program runs until its leaks are seen, a few times at most, and a single false alarm fails.
#![cfg(feature = "gc")]

mod common;

use greenroutine::gc::{self, Leak};

use greenroutine::{chan, go, task, yield_now};

/// The name of a goroutine that is reported.
fn name(leak: &Leak) -> Option<String> {
    match leak {
        Leak::Goroutine { name, .. } => name.clone(),
        _ => None,
    }
}

/// Spawns a goroutine with a name, and drops its handle.
fn named(name: &str, f: impl FnOnce() + Send + 'static) {
    drop(task::Builder::new().name(name).spawn(f).expect("a goroutine"));
}

/// Yields until nobody but the caller has anything to do.
fn settle() {
    for _ in 0..50 {
        yield_now();
    }
}

/// Runs a program until exactly the goroutines with these names are reported, a hundred times at most: a stale word may hide one. Whatever else is reported with a name is a false alarm. Then all are cancelled,
/// and end.
fn leaks_exactly(names: &[&str], program: fn()) {
    for _ in 0..100 {
        // On a stack of its own, which is gone when it is looked for what it left.
        go(program).join().expect("no panic");
        settle();
        let leaks = gc::leaks();
        let mut found: Vec<_> = leaks.iter().filter_map(name).collect();
        found.sort_unstable();
        found.dedup();
        assert!(found.iter().all(|name| names.contains(&name.as_str())), "a false alarm: {leaks:?}");
        let is_whole = found.len() == names.len();
        leaks.iter().for_each(|leak| assert!(!leak.to_string().is_empty()));
        cancel_all(&leaks);
        if is_whole {
            return;
        }
    }
    panic!("{names:?} are not all seen to leak");
}

/// Cancels what was reported; each goroutine ends.
fn cancel_all(leaks: &[Leak]) {
    leaks.iter().for_each(|leak| {
        assert!(leak.cancel() || matches!(leak, Leak::Destructors { .. }) || has_ended(leak))
    });
    common::wait_until(|| {
        leaks.iter().all(|leak| matches!(leak, Leak::Destructors { .. }) || has_ended(leak))
    });
}

fn has_ended(leak: &Leak) -> bool {
    let Leak::Goroutine { id, .. } = leak else { return false };
    !greenroutine::runtime::dump().contains(&format!("goroutine {id} "))
}

#[test]
fn a_receiver_without_sender() {
    common::on_goroutines(|| {
        leaks_exactly(&["lost"], || {
            let (sender, receiver) = chan::<u32>(0);
            named("lost", move || {
                let _ = receiver.recv();
            });
            std::mem::forget(sender);
        });
    });
}
