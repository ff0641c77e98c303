//! `sys` in a model: there is no time.

pub(crate) mod clock {
    //! As `sys::clock`.

    /// Before every deadline.
    pub(crate) fn now_ns() -> u64 {
        1
    }
}
