//! What the kernel says about this process's memory: `/proc/self`. Called by the workloads that measure it.

use std::fs;
use std::io;

/// Bytes of physical memory that the process holds, page tables included (VmRSS + VmPTE): what a million stacks really cost.
pub(super) fn held_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok((kilobytes(&status, "VmRSS:")? + kilobytes(&status, "VmPTE:")?) * 1024)
}

/// The most physical memory that the process held at any time (VmHWM).
pub(super) fn most_held_bytes() -> io::Result<u64> {
    Ok(kilobytes(&fs::read_to_string("/proc/self/status")?, "VmHWM:")? * 1024)
}

/// How many memory mappings the process has; the system allows `vm.max_map_count` of them.
pub(super) fn mappings() -> io::Result<usize> {
    Ok(fs::read_to_string("/proc/self/maps")?.lines().count())
}

fn kilobytes(status: &str, key: &str) -> io::Result<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc/self/status has no line {key} .. kB")))
}
