//! Limits that the system sets for this process: file descriptors and memory.

use std::{fs, path::Path};

/// Descriptors that are not available for connections of clients and to upstreams: the admin port, watches, files,
/// epoll.
const KEPT_BACK: u64 = 128;

/// Raises the soft limit of file descriptors to the hard one, and returns how many connections of clients fit below it:
/// each may need one to an upstream. At most `wanted`.
pub(super) fn max_connections(wanted: usize) -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors can't be raised");
            return wanted;
        }
    };
    let fitting = connections_below(limit);
    if fitting < wanted {
        tracing::warn!(limit, wanted, connections = fitting, "the limit of file descriptors allows fewer connections");
    }
    fitting.min(wanted)
}

fn connections_below(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(KEPT_BACK) / 2).unwrap_or(usize::MAX).max(1)
}

/// Bytes that bodies of requests may take: half of the memory that the container, or else the machine, has.
pub(super) fn body_budget() -> usize {
    let root = Path::new("/");
    memory_limit(root).map_or(usize::MAX, |bytes| usize::try_from(bytes / 2).unwrap_or(usize::MAX))
}

/// The memory limit of the control group (version 2, then 1), or the machine's memory.
fn memory_limit(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let total = read("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let limit = ["sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| read(path)?.trim().parse::<u64>().ok());
    // Version 1 reports an enormous number if there is no limit.
    [limit, total].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_may_need_a_connection_to_an_upstream() {
        assert_eq!(connections_below(1024), 448);
        assert_eq!(connections_below(100), 1, "one is served whatever the limit");
    }

    #[test]
    fn the_smallest_limit_of_memory_counts() {
        let meminfo = "MemTotal:       16000 kB\nMemFree:  1 kB\n";
        for (files, expected) in [
            (&[("sys/fs/cgroup/memory.max", "1048576\n"), ("proc/meminfo", meminfo)][..], Some(1_048_576)),
            (&[("sys/fs/cgroup/memory.max", "max\n"), ("proc/meminfo", meminfo)], Some(16_384_000)),
            (
                &[("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), ("proc/meminfo", meminfo)],
                Some(16_384_000),
            ),
            (&[], None),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(memory_limit(root.path()), expected, "{files:?}");
        }
    }
}
