//! Everything that grows has a bound: what the menu allows, and where it says nothing some times the most that was seen.

use super::super::faults::Menu;
use super::super::host::{Process, Slot};
use model::ShardId;

/// What one entry costs in memory besides its bytes.
const ENTRY_OVERHEAD: usize = 96;
/// Of one exchange: two lanes with a feed each. The most that was seen in 120 seeds: 136,920.
const EXCHANGE_BYTES_MAX: usize = 512 << 10;
/// Requests that wait in one process for its replicas, for a leader, or for another peer. The most: 23, 34 and 72.
const WAITING_MAX: usize = 256;
/// What the exports of one process hold for followers; the most: 35,602.
const EXPORTS_BYTES_MAX: usize = 256 << 10;
/// Files that a journal may have beyond the size at which it is cut: rounds of checkpoints are late on a slow disk, by up
/// to 6.8 files in 120 seeds, and to a little over 10 in one of 700 (400697).
const FILES_LATE: u64 = 20;

/// A log has in memory what no checkpoint holds yet, and below that what the menu gives it, or what its start has found.
pub fn of_replica(
    h: usize,
    shard: ShardId,
    slot: &Slot,
    (process, menu): (&Process, &Menu),
) -> Result<(), String> {
    let durable = process.durable.get(&shard).copied().unwrap_or(0);
    let above = slot.replica.entries_above(durable);
    let above: usize = above.iter().map(|entry| entry.bytes.len() + ENTRY_OVERHEAD).sum();
    let (bytes, most) = (slot.replica.status().log_bytes, menu.log_bytes.1.max(slot.found_bytes));
    if bytes > most + above {
        return Err(format!("h{h} {shard} holds {bytes} bytes of log, {above} are not durable"));
    }
    Ok(())
}

pub fn of_process(h: usize, process: &Process, menu: &Menu) -> Result<(), String> {
    let exchange = process.exchanges.values().map(flow::Exchange::size).max().unwrap_or(0);
    if exchange > EXCHANGE_BYTES_MAX {
        return Err(format!("an exchange of h{h} holds {exchange} bytes"));
    }
    let waiting = process.waiting.len().max(process.held.len()).max(process.calls.len());
    if waiting > WAITING_MAX {
        return Err(format!("{waiting} requests wait in h{h}"));
    }
    let exports: usize = process.exports.values().map(|(_, bytes)| bytes.len()).sum();
    if exports > EXPORTS_BYTES_MAX {
        return Err(format!("the exports of h{h} have {exports} bytes"));
    }
    let journal = process.writer.bytes();
    if journal > menu.journal_bytes + FILES_LATE * menu.journal.segment_bytes {
        return Err(format!("the journal of h{h} has {journal} bytes"));
    }
    Ok(())
}
