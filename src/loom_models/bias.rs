//! Models of the biased lock: the real one, over loom's mutex. The streak is 1, so the owner gets its bias at once.

use crate::loom_models::{both_first, fork};
use loom::cell::UnsafeCell;
use loom::sync::Arc;

use crate::base::bias::BiasedLock;
use crate::base::lock::Rank;

fn lock() -> Arc<BiasedLock<UnsafeCell<u32>>> {
    Arc::new(BiasedLock::new(Rank::Waiters, UnsafeCell::new(0)))
}

fn add(lock: &BiasedLock<UnsafeCell<u32>>, me: usize) {
    let guard = lock.lock(std::ptr::without_provenance_mut(me));
    // SAFETY: under the lock; loom checks it.
    guard.with_mut(|value| unsafe { *value += 1 });
}

#[test]
fn loom_a_biased_lock_excludes_its_owner_and_who_revokes() {
    both_first(|| {
        let lock = lock();
        add(&lock, 8);
        // The owner from here on.
        add(&lock, 8);
        let other = lock.clone();
        let revoker = fork(move || add(&other, 16));
        add(&lock, 8);
        revoker.join().unwrap();
        let guard = lock.lock(std::ptr::null_mut());
        // SAFETY: under the lock; loom checks it.
        assert_eq!(guard.with(|value| unsafe { *value }), 4);
    });
}

#[test]
fn loom_a_biased_lock_excludes_two_who_revoke() {
    both_first(|| {
        let lock = lock();
        add(&lock, 8);
        add(&lock, 8);
        let others: Vec<_> = [0, 16]
            .map(|me| {
                let lock = lock.clone();
                fork(move || add(&lock, me))
            })
            .into();
        add(&lock, 8);
        for other in others {
            other.join().unwrap();
        }
        let guard = lock.lock(std::ptr::null_mut());
        // SAFETY: under the lock; loom checks it.
        assert_eq!(guard.with(|value| unsafe { *value }), 5);
    });
}
