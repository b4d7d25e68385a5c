//! Buckets for values of many magnitudes: each doubling is divided in equal parts.

/// One bucket below the first doubling, the parts of each doubling, one bucket from the last on. A
/// value is known to a part of its doubling.
#[derive(Clone, Copy, Debug)]
pub struct LogLinear {
    first_octave: u32,
    last_octave: u32,
    parts_bits: u32,
}

impl LogLinear {
    /// Buckets from `2^first_octave` to `2^last_octave`, each doubling in `2^parts_bits` parts.
    #[must_use]
    pub const fn new(first_octave: u32, last_octave: u32, parts_bits: u32) -> Self {
        assert!(parts_bits <= first_octave && first_octave < last_octave && last_octave < 64);
        Self {
            first_octave,
            last_octave,
            parts_bits,
        }
    }

    /// How many buckets there are.
    #[inline]
    #[must_use]
    pub const fn buckets(self) -> usize {
        2 + (((self.last_octave - self.first_octave) as usize) << self.parts_bits)
    }

    /// The bucket that holds `value`.
    #[inline]
    #[must_use]
    pub const fn bucket(self, value: u64) -> usize {
        // Zero is below the first doubling as one is.
        let octave = (value | 1).ilog2();
        if octave < self.first_octave {
            return 0;
        }
        if octave >= self.last_octave {
            return self.buckets() - 1;
        }
        let parts = 1_usize << self.parts_bits;
        let part = (value >> (octave - self.parts_bits)) as usize & (parts - 1);
        1 + (octave - self.first_octave) as usize * parts + part
    }

    /// The first value beyond a bucket; the last bucket has its lower bound.
    #[inline]
    #[must_use]
    pub const fn upper_bound(self, bucket: usize) -> u64 {
        let last = self.buckets() - 2;
        let steps = if bucket < last { bucket } else { last };
        let octave = (steps >> self.parts_bits) as u32 + self.first_octave;
        let part = (steps & ((1 << self.parts_bits) - 1)) as u64;
        (1 << octave) + (part << (octave - self.parts_bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_value_never_falls_into_an_earlier_bucket() {
        for layout in [LogLinear::new(9, 25, 2), LogLinear::new(6, 26, 1)] {
            let mut last = 0;
            for value in (0..80_000_000).step_by(37) {
                let now = layout.bucket(value);
                assert!(now == last || now == last + 1, "{value}");
                last = now;
            }
            assert_eq!(last, layout.buckets() - 1);
            assert_eq!(layout.bucket(u64::MAX), last);
        }
    }

    #[test]
    fn buckets_hold_what_their_bounds_say() {
        for layout in [LogLinear::new(9, 25, 2), LogLinear::new(6, 26, 1)] {
            for bucket in 0..layout.buckets() - 1 {
                let bound = layout.upper_bound(bucket);
                assert_eq!(layout.bucket(bound - 1), bucket);
                assert_eq!(layout.bucket(bound), bucket + 1);
            }
        }
    }
}
