//! A model of `base::lock`: its steps and orderings, on a futex made of loom's mutex and condition variable.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::base::fence;

struct Lock {
    word: AtomicU32,
    sleepers: AtomicU32,
    seq: AtomicU32,
    kernel: Mutex<()>,
    futex: Condvar,
    value: UnsafeCell<u32>,
}

impl Lock {
    fn try_take(&self) -> bool {
        self.word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn lock(&self) {
        if self.try_take() {
            return;
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        loop {
            let seq = self.seq.load(Ordering::SeqCst);
            fence::heavy();
            if self.try_take() {
                break;
            }
            let kernel = self.kernel.lock().unwrap();
            if self.seq.load(Ordering::SeqCst) == seq {
                drop(self.futex.wait(kernel).unwrap());
            }
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn unlock(&self) {
        self.word.store(0, Ordering::Release);
        fence::light();
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.seq.fetch_add(1, Ordering::SeqCst);
            drop(self.kernel.lock().unwrap());
            self.futex.notify_one();
        }
    }

    fn add(&self) {
        self.lock();
        // SAFETY: under the lock; loom checks it.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.unlock();
    }
}

#[test]
fn loom_a_lock_wakes_its_sleepers_and_excludes() {
    loom::model(|| {
        let lock = Arc::new(Lock {
            word: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            seq: AtomicU32::new(0),
            kernel: Mutex::new(()),
            futex: Condvar::new(),
            value: UnsafeCell::new(0),
        });
        let others: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || lock.add())
            })
            .collect();
        lock.add();
        for other in others {
            other.join().unwrap();
        }
        // SAFETY: all have ended.
        assert_eq!(lock.value.with(|value| unsafe { *value }), 3);
    });
}
