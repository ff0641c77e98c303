//! What this kernel and its settings allow. Read for error messages and for `greenroutine doctor`.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

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
    /// The control group's `cpu.max`, processors.
    pub(crate) cgroup_processors: Option<f64>,
    /// The control group's `pids.max`, threads of all its processes.
    pub(crate) cgroup_threads: Option<usize>,
    /// `RLIMIT_NPROC`: threads of this user.
    pub(crate) threads: Option<usize>,
    /// `RLIMIT_NOFILE`: open files.
    pub(crate) files: Option<usize>,
    /// Files that this process has open now.
    pub(crate) files_used: Option<usize>,
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
            cgroup_memory: of_cgroups("memory.max", |text| text.parse().ok()),
            cgroup_processors: of_cgroups("cpu.max", processors),
            cgroup_threads: of_cgroups("pids.max", |text| text.parse().ok()),
            threads: rlimit(libc::RLIMIT_NPROC),
            files: rlimit(libc::RLIMIT_NOFILE),
            files_used: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

/// Processors that a `cpu.max` allows: a quota in a period, both in microseconds.
fn processors(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (period > 0.0).then_some(quota / period)
}

/// The smallest of a limit on the way from this process's control group to the root (version 2). `parse` finds none in `max`.
fn of_cgroups<T: PartialOrd>(file: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    smallest(Path::new("/sys/fs/cgroup"), path, file, parse)
}

fn smallest<T: PartialOrd>(
    root: &Path,
    group: &str,
    file: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let group = root.join(group.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|dir| dir.starts_with(root));
    let limits = groups.filter_map(|dir| parse(fs::read_to_string(dir.join(file)).ok()?.trim()));
    limits.reduce(|a, b| if b < a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("greenroutine-cgroups-{}", std::process::id()));
        let group = root.join("a/b");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
        fs::write(root.join("a/cpu.max"), "150000 100000\n").unwrap();
        fs::write(root.join("cpu.max"), "400000 100000\n").unwrap();
        fs::write(group.join("pids.max"), "max\n").unwrap();
        assert_eq!(smallest(&root, "/a/b", "cpu.max", processors), Some(1.5));
        assert_eq!(smallest(&root, "/a/b", "pids.max", |text| text.parse::<usize>().ok()), None);
        assert_eq!(smallest(&root, "/a/b", "memory.max", |text| text.parse::<usize>().ok()), None);
        assert_eq!(processors("50000 0"), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
