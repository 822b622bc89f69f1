//! Deadlines: a hierarchical timing wheel. Pure: the time is an argument, in milliseconds since some beginning.
//!
//! Level 0 has a slot for each of the next 64 ms, level 1 one for each of the next 64 times 64 ms, and so on. An entry
//! is on the level on which its time and the wheel's differ first, counted from the top; when the wheel's time reaches
//! the slot, its entries go to lower levels, and from level 0 to those that are due. So [`set`](Wheel::set) and
//! [`remove`](Wheel::remove) touch a handful of words, whatever the number of entries, and each entry moves at most
//! once per level.
//!
//! An entry further away than the last level reaches waits in that one's furthest slot, and is put there again when
//! that is reached.
//!
//! A deadline that moves only later need not be told: let it fire, look at the real one, and set it again. So a
//! connection that is served a thousand times in a second costs the wheel nothing.

/// When to look at what, by an index of the caller's, each at one time at most.
///
/// An index has 16 bytes, from its first use on; setting it again allocates nothing.
pub(super) struct Wheel {
    /// By index, set or not.
    entries: Vec<Entry>,
    /// The first entry of each place. Entries of one place are a ring, so the first knows the last.
    first: [u32; PLACES],
    /// Which slots of a level have entries.
    occupied: [u64; LEVELS],
    /// Whatever was to come until then is due, or was popped.
    now: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    next: u32,
    previous: u32,
    /// Packed, so that an entry is 16 bytes: the time above, the place in the lower 16 bits.
    when_and_place: u64,
}

impl Wheel {
    /// At time 0.
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), first: [NOBODY; PLACES], occupied: [0; LEVELS], now: 0 }
    }

    /// From now on `index` is due at `when`, and at no other time. What has passed is due at the next
    /// [`pop`](Self::pop); times above 2⁴⁸ ms, 8900 years, count as that one.
    pub(super) fn set(&mut self, index: u32, when: u64) {
        let at = index as usize;
        if at >= self.entries.len() {
            self.entries.resize(at + 1, Entry::UNSET);
        }
        let (when, place) = (when.min(LAST), self.place_for(when.min(LAST)));
        let old = self.entries[at].place();
        if old != place {
            if old != NOWHERE {
                self.unlink(index);
            }
            self.link(index, place);
        }
        self.entries[at].when_and_place = when << PLACE_BITS | place as u64;
    }

    pub(super) fn remove(&mut self, index: u32) {
        if self.is_set(index) {
            self.unlink(index);
            self.entries[index as usize] = Entry::UNSET;
        }
    }

    pub(super) fn is_set(&self, index: u32) -> bool {
        self.when(index).is_some()
    }

    #[inline]
    pub(super) fn when(&self, index: u32) -> Option<u64> {
        self.entries.get(index as usize).filter(|entry| entry.place() != NOWHERE).map(Entry::when)
    }

    /// Takes out one of those whose time has come by `now`, about in the order of their times; call it until there is
    /// none. In between anything may be set and removed; what is set to `now` or earlier comes in the same round, after
    /// all that are due already. A time earlier than one that was given before counts as that one.
    pub(super) fn pop(&mut self, now: u64) -> Option<u32> {
        loop {
            let index = self.first[DUE];
            if index != NOBODY {
                self.remove(index);
                return Some(index);
            }
            match self.next_slot() {
                Some((place, start)) if start <= now => self.reach(place, start),
                _ => {
                    self.now = self.now.max(now);
                    return None;
                }
            }
        }
    }

    /// When to [`pop`](Self::pop) again: never after the first entry's time, but maybe before it.
    pub(super) fn next(&self) -> Option<u64> {
        if self.first[DUE] != NOBODY { Some(self.now) } else { self.next_slot().map(|(_, start)| start) }
    }

    /// The first occupied slot and the first millisecond that belongs to it. All of a level comes before all of the
    /// next one.
    fn next_slot(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let here = self.now >> (level * SLOT_BITS);
        // The slots after the present one, which is empty, in their order.
        let ahead = self.occupied[level].rotate_right(slot_of(here) as u32 + 1);
        let there = here + 1 + u64::from(ahead.trailing_zeros());
        Some((level * SLOTS + slot_of(there), there << (level * SLOT_BITS)))
    }

    /// It is `start`: the entries of this slot go on to where they are looked at next.
    fn reach(&mut self, place: usize, start: u64) {
        self.now = start;
        // Those of the last level may come back to it, but not to this slot.
        while self.first[place] != NOBODY {
            let index = self.first[place];
            self.set(index, self.entries[index as usize].when());
        }
    }

    fn place_for(&self, when: u64) -> usize {
        if when <= self.now {
            return DUE;
        }
        // Bits that differ, so at least one.
        let level = ((when ^ self.now).ilog2() as usize / SLOT_BITS).min(LEVELS - 1);
        let (here, there) = (self.now >> (level * SLOT_BITS), when >> (level * SLOT_BITS));
        // On the last level there is no digit above that is the same, so it may be more than a turn away.
        level * SLOTS + slot_of(there.min(here + SLOTS as u64 - 1))
    }

    /// As the last of its place.
    fn link(&mut self, index: u32, place: usize) {
        let first = self.first[place];
        if first == NOBODY {
            self.first[place] = index;
            self.entry(index).next = index;
            self.entry(index).previous = index;
            self.mark(place, true);
            return;
        }
        let last = self.entry(first).previous;
        self.entry(index).next = first;
        self.entry(index).previous = last;
        self.entry(last).next = index;
        self.entry(first).previous = index;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { next, previous, .. } = *self.entry(index);
        let place = self.entry(index).place();
        if next == index {
            self.first[place] = NOBODY;
            self.mark(place, false);
            return;
        }
        self.entry(previous).next = next;
        self.entry(next).previous = previous;
        if self.first[place] == index {
            self.first[place] = next;
        }
    }

    fn mark(&mut self, place: usize, occupied: bool) {
        if let Some(slots) = self.occupied.get_mut(place / SLOTS) {
            let bit = 1 << (place % SLOTS);
            *slots = if occupied { *slots | bit } else { *slots & !bit };
        }
    }

    fn entry(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }
}

impl Entry {
    const UNSET: Entry = Entry { next: NOBODY, previous: NOBODY, when_and_place: NOWHERE as u64 };

    fn when(&self) -> u64 {
        self.when_and_place >> PLACE_BITS
    }

    fn place(&self) -> usize {
        (self.when_and_place & NOWHERE as u64) as usize
    }
}

/// The slot of a level for a time in units of the level's slots.
fn slot_of(units: u64) -> usize {
    (units % SLOTS as u64) as usize
}

/// A machine word of slots per level.
const SLOTS: usize = 64;
const SLOT_BITS: usize = 6;

/// The last one reaches 12 days far, in slots of 4.7 hours.
const LEVELS: usize = 5;

/// The slots of all levels, then those that are due.
const DUE: usize = LEVELS * SLOTS;
const PLACES: usize = DUE + 1;

const PLACE_BITS: u32 = 16;
/// The place of an entry that is not set.
const NOWHERE: usize = (1 << PLACE_BITS) - 1;

/// The latest time that fits above a place.
const LAST: u64 = u64::MAX >> PLACE_BITS;

/// No index.
const NOBODY: u32 = u32::MAX;

#[cfg(test)]
mod tests;
