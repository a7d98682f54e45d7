//! Everything that grows has a bound.

use super::super::host::Process;
use model::ShardId;
use replica::Replica;

/// Of one replica's log in memory: what waits for a checkpoint and for slow followers.
const LOG_BYTES_MAX: usize = 8 << 20;
/// Of one exchange: two lanes with a feed each.
const EXCHANGE_BYTES_MAX: usize = 4 << 20;
/// Requests that wait in one process: clients, tasks and neighbours ask one at a time or a few.
const WAITING_MAX: usize = 10_000;
/// Journal bytes beyond which it should have been cut: some rounds of checkpoints may be late.
const JOURNAL_SLACK: u64 = 16 << 20;

pub fn of_replica(h: usize, shard: ShardId, replica: &Replica) -> Result<(), String> {
    let bytes = replica.status().log_bytes;
    if bytes > LOG_BYTES_MAX {
        return Err(format!("h{h} {shard} holds {bytes} bytes of log in memory"));
    }
    Ok(())
}

pub fn of_process(h: usize, process: &Process, journal_bytes: u64) -> Result<(), String> {
    let exchange = process.exchanges.values().map(flow::Exchange::size).max().unwrap_or(0);
    if exchange > EXCHANGE_BYTES_MAX {
        return Err(format!("an exchange of h{h} holds {exchange} bytes"));
    }
    let waiting = process.waiting.len().max(process.held.len()).max(process.calls.len());
    if waiting > WAITING_MAX {
        return Err(format!("{waiting} requests wait in h{h}"));
    }
    let journal = process.writer.bytes();
    if journal > journal_bytes + JOURNAL_SLACK {
        return Err(format!("the journal of h{h} has {journal} bytes"));
    }
    Ok(())
}
