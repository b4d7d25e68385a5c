//! Numbers for endpoints: small, reused, and never the same for two holders.

use crate::model::id::EndpointId;

/// Hands out [`EndpointId`]s. A freed slot is used again with the next generation, so that
/// per-endpoint vectors stay as long as the most endpoints there ever were at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// The generation each slot's present or next holder has.
    generations: Vec<u32>,
    /// Slots nobody holds; the last one freed is used first.
    free: Vec<u32>,
}

impl Slots {
    /// A number no living endpoint has, and none had before.
    pub fn allocate(&mut self) -> EndpointId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            // Endpoints are bounded far below this by regions, origins and addresses of each.
            u32::try_from(self.generations.len() - 1).expect("fewer than 2^32 endpoints live")
        });
        EndpointId {
            slot,
            generation: self.generations[slot as usize],
        }
    }

    /// Gives `id` back. An id that is not held (any more) changes nothing.
    pub fn release(&mut self, id: EndpointId) {
        if let Some(generation) = self.generations.get_mut(id.index())
            && *generation == id.generation
        {
            *generation = generation.wrapping_add(1);
            self.free.push(id.slot);
        }
    }

    /// How many slots there are, held and free: the length of per-endpoint vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.generations.len()
    }

    /// Whether no slot was ever handed out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_returns_with_the_next_generation() {
        let mut slots = Slots::default();
        let first = slots.allocate();
        let second = slots.allocate();
        slots.release(first);
        let third = slots.allocate();
        assert_eq!(third.slot, first.slot);
        assert_eq!(third.generation, first.generation + 1);
        assert_ne!(second.slot, third.slot);
        assert_eq!(slots.len(), 2);
    }

    #[test]
    fn an_id_given_back_twice_is_free_once() {
        let mut slots = Slots::default();
        let id = slots.allocate();
        slots.release(id);
        slots.release(id);
        assert_ne!(slots.allocate(), slots.allocate());
    }
}
