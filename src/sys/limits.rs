//! What this kernel and its settings allow. Read for error messages and for `greenroutine doctor`.

use std::ffi::CStr;
use std::fs;

/// The limits that bear on goroutines; `None` means unlimited or unknown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// `vm.max_map_count`.
    pub(crate) max_map_count: Option<usize>,
    /// Memory mappings of this process now.
    pub(crate) maps_used: Option<usize>,
    /// `vm.overcommit_memory`.
    pub(crate) overcommit: Option<u32>,
    /// `RLIMIT_AS`, bytes.
    pub(crate) address_space: Option<usize>,
    /// The control group's `memory.max`, bytes.
    pub(crate) cgroup_memory: Option<usize>,
    /// `RLIMIT_NPROC`: threads of this user.
    pub(crate) threads: Option<usize>,
    /// `RLIMIT_NOFILE`: open files.
    pub(crate) files: Option<usize>,
    /// Kernel release, such as `6.18.44`.
    pub(crate) kernel: String,
}

fn number(path: &str) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn rlimit(resource: libc::__rlimit_resource_t) -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable for the duration of the call.
    let result = unsafe { libc::getrlimit(resource, &mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as usize)
}

/// `RLIMIT_AS`, bytes; `None` means unlimited. Allocates nothing.
pub(crate) fn address_space() -> Option<usize> {
    rlimit(libc::RLIMIT_AS)
}

/// Whether an environment variable is set to that value. Allocates nothing and may run before `main`.
pub(crate) fn variable_is(name: &CStr, value: &[u8]) -> bool {
    // SAFETY: the name is a C string; nobody changes the environment while the first allocation of the process runs.
    let found = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: not null, so a C string of the environment.
    !found.is_null() && unsafe { CStr::from_ptr(found) }.to_bytes() == value
}

/// The error number of "no memory".
pub(crate) const ENOMEM: i32 = libc::ENOMEM;

impl Limits {
    /// Reads them all.
    pub(crate) fn read() -> Self {
        Self {
            max_map_count: number("/proc/sys/vm/max_map_count"),
            maps_used: fs::read_to_string("/proc/self/maps").ok().map(|maps| maps.lines().count()),
            overcommit: number("/proc/sys/vm/overcommit_memory").map(|n| n as u32),
            address_space: rlimit(libc::RLIMIT_AS),
            cgroup_memory: cgroup_memory(),
            threads: rlimit(libc::RLIMIT_NPROC),
            files: rlimit(libc::RLIMIT_NOFILE),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

/// The smallest `memory.max` on the way from this process's control group to the root (version 2).
fn cgroup_memory() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut dir = std::path::PathBuf::from("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let mut smallest = None;
    while dir.starts_with("/sys/fs/cgroup") {
        if let Some(max) = dir.join("memory.max").to_str().and_then(number) {
            smallest = Some(smallest.map_or(max, |s: usize| s.min(max)));
        }
        if !dir.pop() {
            break;
        }
    }
    smallest
}
