//! `sync::Pool`: from what Go's sync/pool_test.go states (BSD licence), rewritten.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Counted, par};
use greenroutine::sync::Pool;

#[test]
fn get_gives_what_was_put_or_makes_one() {
    common::on_all(|| {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let pool = Pool::new(move || count.fetch_add(1, Ordering::SeqCst) + 1000);
        assert_eq!((pool.get(), pool.get()), (1000, 1001));
        (0..100).for_each(|n| pool.put(n));
        let mut got: Vec<_> = (0..100).map(|_| pool.get()).collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..100));
        assert_eq!(pool.get(), 1002);
        assert!(format!("{pool:?}").contains("count: 0"));
    });
}

#[test]
fn no_value_is_lost_or_doubled_between_many() {
    common::on_all(|| {
        let pool = Pool::new(|| usize::MAX);
        (0..64).for_each(|n| pool.put(n));
        par(|p| {
            for _ in 0..4 {
                p.go(|| {
                    for _ in 0..2000 {
                        let (a, b) = (pool.get(), pool.get());
                        assert!(a != b || a == usize::MAX);
                        pool.put(b);
                        greenroutine::yield_now();
                        pool.put(a);
                    }
                });
            }
        });
    });
}

#[test]
fn a_pool_drops_its_values_with_itself() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    let pool = Pool::new(move || Counted(count.clone()));
    let values: Vec<_> = (0..10).map(|_| pool.get()).collect();
    values.into_iter().for_each(|value| pool.put(value));
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    drop(pool);
    assert_eq!(dropped.load(Ordering::SeqCst), 10);
}

#[cfg(feature = "gc")]
mod collected {
    use super::*;
    use greenroutine::gc;

    #[test]
    fn two_collections_empty_a_pool() {
        common::alone("collected::two_collections_empty_a_pool", || {
            let pool = Pool::new(|| 0);
            (1..=10).for_each(|n| pool.put(n));
            gc::collect();
            assert_ne!(pool.get(), 0, "a victim");
            pool.put(99);
            gc::collect();
            assert_eq!(pool.get(), 99, "the others are gone, this one was put after the first collection");
            assert_eq!(pool.get(), 0);
            pool.put(5);
            gc::collect();
            gc::collect();
            assert_eq!(pool.get(), 0);
        });
    }

    #[test]
    fn a_pool_that_nobody_uses_drops_its_values_by_itself() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = dropped.clone();
        let pool = Pool::new(move || Counted(count.clone()));
        let values: Vec<_> = (0..10).map(|_| pool.get()).collect();
        values.into_iter().for_each(|value| pool.put(value));
        gc::collect();
        gc::collect();
        common::wait_until(|| {
            gc::collect();
            dropped.load(Ordering::SeqCst) == 10
        });
        drop(pool);
    }

    #[test]
    fn collections_beside_gets_and_puts() {
        common::on_all(|| {
            let pool = Pool::new(|| vec![1_u8; 100]);
            par(|p| {
                for _ in 0..3 {
                    p.go(|| {
                        for _ in 0..1000 {
                            let value = pool.get();
                            assert_eq!(value, [1_u8; 100]);
                            pool.put(value);
                        }
                    });
                }
                for _ in 0..20 {
                    gc::collect();
                    greenroutine::yield_now();
                }
            });
        });
    }
}
