//! Which partition a record goes to, as Kafka's own producer decides it: events that other producers wrote to Kafka
//! and events that were published here lie in the same partitions.
//!
//! Goes in: a key and a number of partitions. Goes out: a partition.

/// The partition of a key: murmur2 of its bytes without the sign bit, modulo the number of partitions.
///
/// # Panics
/// If there are no partitions: no topic is without.
pub fn of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7FFF_FFFF) % partitions
}

/// The 32-bit murmur2 hash with the seed that Kafka uses.
fn murmur2(bytes: &[u8]) -> u32 {
    const MIX: u32 = 0x5BD1_E995;
    const SEED: u32 = 0x9747_B28C;
    // Kafka counts lengths in 32 bits, and so do the records that come here.
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MIX) ^ word.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_producer() {
        let fixtures = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in fixtures {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn a_key_is_always_in_one_of_the_partitions() {
        for partitions in 1..10 {
            for key in 0..100u32 {
                assert!(of_key(&key.to_be_bytes(), partitions) < partitions);
            }
        }
    }
}
