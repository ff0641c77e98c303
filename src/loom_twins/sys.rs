//! `sys` in a model: a clock that the model sets.

pub(crate) mod clock {
    //! Time passes when it is read: as much as the model says.

    use std::cell::Cell;

    mod local {
        use std::cell::Cell;
        // loom's threads share one thread of the system.
        std::thread_local!(pub(super) static CLOCK: Cell<(u64, u64)> = const { Cell::new((1, 0)) });
    }

    /// From now on each reading is `step` later than the one before.
    pub(crate) fn set_step(step: u64) {
        local::CLOCK.with(|clock: &Cell<_>| clock.set((1, step)));
    }

    /// As the real one.
    pub(crate) fn now_ns() -> u64 {
        local::CLOCK.with(|clock| {
            let (now, step) = clock.get();
            clock.set((now + step, step));
            now
        })
    }
}
