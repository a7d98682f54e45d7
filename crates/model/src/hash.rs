//! The hashes that placement depends on. They are part of the format: changing one moves data.

use crate::id::ShardId;

/// The shard of a partition: (hash of the placement id's lower half + partition) mod shards.
///
/// `shards` is the mesh's fixed number of shards, at least 1. The placement id is the stream's own, or the
/// stage's for what a stage writes, with the bucket as the partition. A stage's lower half is that of what it reads:
/// [`beside`].
pub fn shard_of(placement: u128, partition: u32, shards: u16) -> ShardId {
    assert!(shards > 0, "a mesh has at least one shard");
    let hash = xxhash_rust::xxh3::xxh3_64(&(placement as u64).to_le_bytes());
    ShardId((hash.wrapping_add(u64::from(partition)) % u64::from(shards)) as u16)
}

/// An id as unlike others as the one that was drawn, whose shards are those of another placement: what is read together
/// and decided together shares entries of a log.
pub fn beside(placement: u128, drawn: u128) -> u128 {
    let half = u128::from(u64::MAX);
    (drawn & !half) | (placement & half)
}

/// The shard of a group of consumers: its leader is the group's coordinator.
pub fn shard_of_group(group: &str, shards: u16) -> ShardId {
    assert!(shards > 0, "a mesh has at least one shard");
    ShardId((hash64(group.as_bytes()) % u64::from(shards)) as u16)
}

/// XXH3 (64 bits) with a seed, for hash tables over keys that strangers choose: whoever does not know the seed
/// cannot make keys that collide. Not part of any format.
pub fn seeded(seed: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

/// The partition or bucket of a key, as Kafka's Java client places it (murmur2, sign bit cleared).
pub fn bucket_of(key: &[u8], buckets: u32) -> u32 {
    assert!(buckets > 0, "a keyed stage has at least one bucket");
    (murmur2(key) & 0x7fff_ffff) % buckets
}

/// Murmur2, 32 bits, with the seed that Kafka's Java client uses (Appleby 2008).
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut h = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// 64 bits of any bytes; used for points on the ring, fingerprints and idempotency keys.
pub fn hash64(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// 128 bits of any bytes.
pub fn hash128(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_placed_as_kafkas_java_client_places_them() {
        // Values of org.apache.kafka.common.utils.Utils.murmur2, from that class's own unit test.
        let cases: [(&[u8], i32); 5] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key) as i32, expected);
        }
    }

    #[test]
    fn neighbouring_partitions_lie_in_neighbouring_shards() {
        let first = shard_of(7, 0, 64).0;
        assert_eq!(shard_of(7, 1, 64).0, (first + 1) % 64);
    }

    #[test]
    fn an_id_beside_another_is_its_own_and_has_the_same_shards() {
        let (stream, drawn) = (5 << 64 | 7, 9 << 64 | 11);
        let id = beside(stream, drawn);
        assert!(id != stream && id != drawn && id != beside(stream, 10 << 64 | 11));
        assert!((0..64).all(|at| shard_of(id, at, 64) == shard_of(stream, at, 64)));
        assert!((0..64).any(|at| shard_of(drawn, at, 64) != shard_of(stream, at, 64)));
    }
}
