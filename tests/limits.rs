//! Bad values, refused memory, exhausted stacks, an idle runtime: a clear error, and what runs goes on.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{in_child, in_child_after, is_child, runtime, switches, text, wait_until};
use greenroutine::{Runtime, go, task, yield_now};

#[test]
fn settings_out_of_range_name_the_value_and_the_range() {
    for (bytes, shown) in [(0, "0"), (65_535, "65535"), ((1 << 30) + 1, "1073741825")] {
        let error = Runtime::builder().stack_max(bytes).build().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let error = error.to_string();
        assert!(error.contains(shown) && error.contains("65536") && error.contains("1073741824"), "{error}");
        let error = task::Builder::new().stack_max(bytes).spawn(|| ()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(shown) && error.contains("65536"), "{error}");
    }
    for workers in [0, 513] {
        let error = Runtime::builder().workers(workers).build().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&workers.to_string()) && error.contains("1 to 512"), "{error}");
    }
    let error = Runtime::builder()
        .stack_max(1 << 20)
        .stack_initial(2 << 20)
        .build()
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("2097152") && error.contains("1048576"), "{error}");
    // The first of two errors.
    let error = Runtime::builder().workers(0).stack_max(1).build().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("workers"), "{error}");
}

#[test]
fn a_bad_variable_is_named() {
    const NAME: &str = "a_bad_variable_is_named";
    if is_child(NAME) {
        let error = task::Builder::new().spawn(|| ()).map(|_| ()).unwrap_err();
        println!("as an error: {error}");
        greenroutine::run(|| ());
        unreachable!("run panics");
    }
    for (variable, value) in [
        ("GREENROUTINE_WORKERS", "several"),
        ("GREENROUTINE_WORKERS", "0"),
        ("GREENROUTINE_STACK_MAX", "7"),
        ("GREENROUTINE_TRACEBACK", "perhaps"),
    ] {
        let output = in_child(NAME, |command| {
            command.env(variable, value);
        });
        let text = text(&output);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains(variable) && text.contains(value), "{text}");
        assert!(text.contains("as an error: cannot start the global runtime"), "{text}");
    }
}

#[test]
fn good_variables_apply_to_the_global_runtime() {
    const NAME: &str = "good_variables_apply_to_the_global_runtime";
    if is_child(NAME) {
        assert_eq!(greenroutine::runtime::workers(), 3);
        greenroutine::run(|| {
            drop(go(|| ()));
            assert!(greenroutine::runtime::dump().contains("131072 at most"));
        });
        return;
    }
    let output = in_child(NAME, |command| {
        command.env("GREENROUTINE_WORKERS", "3").env("GREENROUTINE_STACK_MAX", "128K");
    });
    assert!(output.status.success(), "{}", text(&output));
}

/// Spawns goroutines that park until one is refused, at the spawn or at the start, then lets all of them end. Returns how many there
/// were, and the error.
fn park_until_refused(most: usize) -> (usize, String) {
    let runtime = runtime(2, false);
    let (parked, error) = runtime.run(move || {
        let started = Arc::new(AtomicUsize::new(0));
        let mut handles = Vec::new();
        let error = loop {
            assert!(handles.len() < most, "no limit was met");
            let flag = started.clone();
            let spawned = task::Builder::new().spawn(move || {
                flag.fetch_add(1, Ordering::SeqCst);
                task::park();
            });
            match spawned {
                Ok(handle) => handles.push(handle),
                Err(error) => break error.to_string(),
            }
            // In step, so that at most a few are between spawn and start.
            let last = handles.last().unwrap();
            wait_until(|| started.load(Ordering::SeqCst) == handles.len() || last.is_finished());
            if last.is_finished() {
                break handles.pop().unwrap().join().unwrap_err().to_string();
            }
        };
        // What runs goes on.
        for handle in &handles {
            handle.cancel();
        }
        let count = handles.len();
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        (count, error)
    });
    // And there is room again.
    runtime.run(|| go(|| ()).join().unwrap());
    (parked, error)
}

#[test]
fn a_limit_of_address_space_refuses_goroutines_and_says_how_to_raise_it() {
    const NAME: &str = "a_limit_of_address_space_refuses_goroutines_and_says_how_to_raise_it";
    if is_child(NAME) {
        let (parked, error) = park_until_refused(1_000_000);
        println!("parked {parked}: {error}");
        return;
    }
    // 8 GiB of address space: the arena takes a quarter, which is 32 stacks of 64 MiB.
    let output = in_child_after(NAME, "ulimit -v 8388608");
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("parked 32: ") || text.contains("parked 31: "), "{text}");
    assert!(text.contains("stack_max 67108864") && text.contains("ulimit -v"), "{text}");
}

#[test]
fn far_more_goroutines_than_stacks_can_be_spawned_if_they_do_not_wait() {
    const NAME: &str = "far_more_goroutines_than_stacks_can_be_spawned_if_they_do_not_wait";
    if is_child(NAME) {
        let rt = runtime(2, false);
        let sum: usize = rt.run(|| {
            let handles: Vec<_> = (0..10_000).map(|n| go(move || n)).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).sum()
        });
        assert_eq!(sum, 49_995_000);
        return;
    }
    let output = in_child_after(NAME, "ulimit -v 8388608");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn an_arena_that_cannot_be_reserved_is_an_error_of_the_runtime() {
    const NAME: &str = "an_arena_that_cannot_be_reserved_is_an_error_of_the_runtime";
    if is_child(NAME) {
        match Runtime::builder().workers(1).build() {
            Ok(_) => println!("it fitted"),
            Err(error) => println!("refused: {error}"),
        }
        return;
    }
    let output = in_child_after(NAME, "ulimit -v 60000");
    let text = text(&output);
    assert!(text.contains("it fitted") || text.contains("refused: "), "{text}");
    if text.contains("refused: ") {
        assert!(text.contains("bytes"), "{text}");
    }
}

#[test]
fn an_idle_runtime_uses_no_cpu() {
    const NAME: &str = "an_idle_runtime_uses_no_cpu";
    if is_child(NAME) {
        let rt = runtime(4, false);
        rt.run(|| {
            let handles: Vec<_> = (0..1000).map(|_| go(yield_now)).collect();
            for handle in handles {
                handle.join().unwrap();
            }
        });
        // One that waits for good does not keep the runtime awake.
        let parked = rt.go(task::park);
        // Until trimming is through nothing is said; then no thread of the runtime runs, ever.
        let mut quiet = 0;
        let mut last = switches();
        while quiet < 5 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let now = switches();
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
        }
        parked.cancel();
        assert!(parked.join().unwrap_err().is_cancelled());
        return;
    }
    let output = in_child(NAME, |_| {});
    assert!(output.status.success(), "{}", text(&output));
}
