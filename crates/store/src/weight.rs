//! What this process costs the machine, as the kernel counts it.

use std::fs;

/// Memory and time of this process; zeros where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of memory in use.
    pub memory: u64,
    /// Time on processors since the start, ms.
    pub cpu_ms: u64,
}

/// Clock ticks a second in `/proc`: the same on every Linux.
const TICKS: u64 = 100;

/// Looks in `/proc`.
pub fn weight() -> Weight {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    parse(&read("/proc/self/status"), &read("/proc/self/stat"))
}

fn parse(status: &str, stat: &str) -> Weight {
    let number = |text: &str, at: usize| {
        text.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    };
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("");
    // The process's name stands in brackets and may hold spaces; two fields behind it are 14th and 15th.
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = number(behind, 11) + number(behind, 12);
    Weight { memory: number(memory, 0) * 1024, cpu_ms: ticks * 1_000 / TICKS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_also_behind_an_odd_name() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let weight = parse("Name:\ta b) c\nVmRSS:\t     100 kB\nThreads:\t3\n", stat);
        assert_eq!(weight, Weight { memory: 100 << 10, cpu_ms: 2_000 });
        assert_eq!(parse("", ""), Weight::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_weighs_something() {
        assert!(weight().memory > 1 << 20);
    }
}
