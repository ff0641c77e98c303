//! What a goroutine has woken or spawned does not wait for it to end where somebody else could run it. Events only: a goroutine spins, without a call
//! of the runtime, until the other has run.

mod common;

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::runtime;
use greenroutine::channel::bounded;
use greenroutine::go;

fn spin_until(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        spin_loop();
    }
}

#[test]
fn in_free_mode_a_woken_goroutine_runs_elsewhere_while_its_waker_goes_on() {
    for _ in 0..20 {
        runtime(2, true).run(|| {
            let ran = Arc::new(AtomicBool::new(false));
            let (s, r) = bounded(0);
            let (ready, is_ready) = bounded(0);
            let flag = ran.clone();
            let woken = go(move || {
                ready.send(()).expect("the spinner waits");
                r.recv().expect("the spinner sends");
                flag.store(true, Ordering::Release);
            });
            is_ready.recv().expect("it is about to receive");
            s.send(()).expect("the other receives");
            spin_until(&ran);
            woken.join().expect("no panic");
        });
    }
}

#[test]
fn a_spawned_goroutine_runs_elsewhere_while_its_spawner_goes_on() {
    for free in [false, true] {
        for _ in 0..20 {
            runtime(2, free).run(|| {
                let ran = Arc::new(AtomicBool::new(false));
                let flag = ran.clone();
                let spawned = go(move || flag.store(true, Ordering::Release));
                spin_until(&ran);
                spawned.join().expect("no panic");
            });
        }
    }
}
