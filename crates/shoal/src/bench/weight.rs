//! What the peers cost: CPU time and memory of their processes as Linux tells them, and what machine this is.
//!
//! Where `/proc` is missing the answers are none, never a guess.

use std::fs;
use std::path::Path;

/// Ticks a second in `/proc/<pid>/stat`; fixed in Linux's interface to programs.
const TICKS_PER_S: f64 = 100.0;

/// CPU seconds that a process has used, in user and system together.
pub fn cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    cpu_of(&stat)
}

/// CPU seconds of several processes; none when one of them cannot be read.
pub fn cpu_s_of(pids: &[u32]) -> Option<f64> {
    if pids.is_empty() {
        return None;
    }
    pids.iter().map(|pid| cpu_s(*pid)).sum()
}

fn cpu_of(stat: &str) -> Option<f64> {
    // The process's name may hold spaces and brackets, so the fields are counted from its end: state is the first,
    // utime and stime are the 12th and 13th.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_S)
}

/// Memory of the largest of several processes, in MB (10^6 bytes).
pub fn rss_mb_of(pids: &[u32]) -> Option<f64> {
    pids.iter().filter_map(|pid| rss_mb(*pid)).reduce(f64::max)
}

fn rss_mb(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: f64 = field(&status, "VmRSS:")?.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The machine in one line; `dir` is where the peers keep their files.
pub fn hardware(dir: Option<&Path>) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&cpuinfo, "model name").unwrap_or("unknown CPU");
    let model = model.trim_start_matches(':').trim();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: f64 = field(&memory, "MemTotal:")
        .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    let gib = memory_kib / f64::from(1 << 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let disk = dir.and_then(|dir| file_system(&mounts, dir)).unwrap_or("unknown file system");
    format!("{cores} × {model}, {gib:.0} GiB, Linux {}, {disk}", kernel.trim())
}

/// The type of the file system that `dir` lies on: that of the longest mount point above it.
fn file_system<'a>(mounts: &'a str, dir: &Path) -> Option<&'a str> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounted.filter(|(point, _)| dir.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processes_name_does_not_shift_its_figures() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 99 1 1";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("42 (a) S 1"), None);
    }

    #[test]
    fn the_longest_mount_point_above_a_folder_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nb /tmpfiles xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/home")), Some("ext4"));
    }
}
