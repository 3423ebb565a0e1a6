//! A heap of deadlines over lent memory: which of many owners is due first, each owner at most once.

use crate::time::Deadline;

/// A place of the heap, and of the table that tells where in the heap an owner is.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    deadline: Deadline,
    owner: u32,
    /// Where in the heap the owner of this node's number stands; `u32::MAX` if nowhere.
    place: u32,
}

impl Node {
    /// An empty place.
    pub const EMPTY: Self = Self { deadline: Deadline::NEVER, owner: u32::MAX, place: u32::MAX };
}

/// The fixed part of the heap: how many owners it holds. Owners are numbers below the length of the lent nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap {
    len: u32,
}

impl Heap {
    /// An empty heap.
    pub const fn new() -> Self {
        Self { len: 0 }
    }

    /// The earliest deadline and its owner.
    pub fn first(&self, nodes: &[Node]) -> Option<(Deadline, u32)> {
        if self.len == 0 { None } else { nodes.first().map(|node| (node.deadline, node.owner)) }
    }

    /// Sets the deadline of `owner`; [`Deadline::NEVER`] takes it out. Work grows with the logarithm of the number of
    /// owners.
    pub fn set(&mut self, nodes: &mut [Node], owner: u32, deadline: Deadline) {
        let Some(place) = nodes.get(owner as usize).map(|node| node.place) else { return };
        match (place == u32::MAX, deadline.is_set()) {
            (true, false) => {}
            (true, true) => {
                let at = self.len;
                self.len = self.len.saturating_add(1);
                put(nodes, at, deadline, owner);
                self.rise(nodes, at);
            }
            (false, true) => {
                put(nodes, place, deadline, owner);
                let at = self.rise(nodes, place);
                self.sink(nodes, at);
            }
            (false, false) => {
                self.len = self.len.saturating_sub(1);
                let last = self.len;
                set_place(nodes, owner, u32::MAX);
                if let Some((deadline, moved)) = at(nodes, last).filter(|_| last != place) {
                    put(nodes, place, deadline, moved);
                    let at = self.rise(nodes, place);
                    self.sink(nodes, at);
                }
            }
        }
    }

    fn rise(&self, nodes: &mut [Node], mut place: u32) -> u32 {
        while place > 0 {
            let parent = place.wrapping_sub(1) >> 1;
            let (Some(above), Some(here)) = (at(nodes, parent), at(nodes, place)) else { break };
            if above.0 <= here.0 {
                break;
            }
            swap(nodes, parent, place);
            place = parent;
        }
        place
    }

    fn sink(&self, nodes: &mut [Node], mut place: u32) {
        loop {
            let left = place.wrapping_mul(2).wrapping_add(1);
            let right = left.wrapping_add(1);
            let earlier = |nodes: &[Node], a: u32, b: u32| {
                if b < self.len && at(nodes, b).map(|n| n.0) < at(nodes, a).map(|n| n.0) { b } else { a }
            };
            let first = earlier(nodes, earlier(nodes, place, left), right);
            if first == place {
                return;
            }
            swap(nodes, first, place);
            place = first;
        }
    }
}

fn at(nodes: &[Node], place: u32) -> Option<(Deadline, u32)> {
    nodes.get(place as usize).map(|node| (node.deadline, node.owner))
}

fn put(nodes: &mut [Node], place: u32, deadline: Deadline, owner: u32) {
    if let Some(node) = nodes.get_mut(place as usize) {
        node.deadline = deadline;
        node.owner = owner;
    }
    set_place(nodes, owner, place);
}

fn set_place(nodes: &mut [Node], owner: u32, place: u32) {
    if let Some(node) = nodes.get_mut(owner as usize) {
        node.place = place;
    }
}

fn swap(nodes: &mut [Node], a: u32, b: u32) {
    if let (Some((deadline_a, owner_a)), Some((deadline_b, owner_b))) = (at(nodes, a), at(nodes, b)) {
        put(nodes, a, deadline_b, owner_b);
        put(nodes, b, deadline_a, owner_a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn the_first_is_always_the_earliest() {
        for size in [1_usize, 2, 3, 17, 100] {
            let mut nodes = std::vec![Node::EMPTY; size];
            let mut model = std::vec![Deadline::NEVER; size];
            let mut heap = Heap::new();
            let mut seed = size as u64;
            for _ in 0..5_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let owner = (seed >> 33) as usize % size;
                let deadline = match (seed >> 20) % 4 {
                    0 => Deadline::NEVER,
                    _ => Deadline::at(Instant::from_micros((seed >> 24) % 50)),
                };
                heap.set(&mut nodes, owner as u32, deadline);
                model[owner] = deadline;
                let earliest = model.iter().copied().filter(|d| d.is_set()).min();
                assert_eq!(heap.first(&nodes).map(|(deadline, _)| deadline), earliest);
                if let Some((deadline, owner)) = heap.first(&nodes) {
                    assert_eq!(model[owner as usize], deadline);
                }
                assert_eq!(heap.len as usize, model.iter().filter(|d| d.is_set()).count());
            }
        }
    }
}
