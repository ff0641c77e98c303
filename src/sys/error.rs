//! [`OsError`]: a refused system call, with what a person needs to do something about it.
//!
//! Made in `mem`, carried up through `stack` to `task::Builder::spawn` and `runtime::Builder::build`, where it becomes a
//! `std::io::Error` that keeps this one as its source.

use std::fmt;

/// A system call that the kernel refused.
#[derive(Clone, Debug)]
pub struct OsError {
    /// The call, as in its manual page.
    pub(crate) call: &'static str,
    /// How many bytes it was about.
    pub(crate) bytes: usize,
    /// The error number.
    pub(crate) errno: i32,
}

impl OsError {
    /// The error that `errno` holds right after `call` failed.
    pub(crate) fn last(call: &'static str, bytes: usize) -> Self {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Self { call, bytes, errno }
    }

    /// The system call that failed, as in its manual page.
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// How many bytes the refused call was about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The error number (`errno`).
    pub fn raw_os_error(&self) -> i32 {
        self.errno
    }

    /// The limits that refuse this call, with their present values, and the way out. Reads `/proc`.
    fn way_out(&self) -> String {
        let limits = super::limits::Limits::read();
        if self.errno != libc::ENOMEM {
            return String::from("`greenroutine doctor` says what this kernel allows");
        }
        let mut out = Vec::new();
        if let Some(bytes) = limits.address_space {
            out.push(format!(
                "the address space limit is {bytes} bytes: raise it (`ulimit -v unlimited`) or lower `stack_max`"
            ));
        }
        if let (Some(used), Some(max)) = (limits.maps_used, limits.max_map_count)
            && used + used / 8 >= max
        {
            out.push(format!(
                "{used} memory mappings of vm.max_map_count = {max} are in use: raise it (`sysctl -w vm.max_map_count={}`)",
                max * 16
            ));
        }
        if limits.overcommit == Some(2) {
            out.push(String::from(
                "vm.overcommit_memory is 2, which counts reserved memory: set it to 0 or lower `stack_max`",
            ));
        }
        if let Some(bytes) = limits.cgroup_memory {
            out.push(format!(
                "the control group allows {bytes} bytes of memory: raise memory.max or run fewer goroutines"
            ));
        }
        if out.is_empty() {
            out.push(String::from("run fewer goroutines at once or lower `stack_max`"));
        }
        out.join("; ")
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "{} of {} bytes was refused: {reason}; {}", self.call, self.bytes, self.way_out())
    }
}

impl std::error::Error for OsError {}

impl From<OsError> for std::io::Error {
    fn from(error: OsError) -> Self {
        let kind = std::io::Error::from_raw_os_error(error.errno).kind();
        std::io::Error::new(kind, error)
    }
}
