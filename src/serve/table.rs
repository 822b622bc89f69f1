//! Every open connection, by a key that is never given twice: the place of one that is gone may be used again, its key
//! may not, so that what comes late for it finds nothing.

use mio::Token;

/// One connection of one worker, for as long as the worker lives: a late result, timer or event for a connection that
/// is gone finds nothing, also if its place was given to another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A `T` per connection.
pub(super) struct Table<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    taken: usize,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), taken: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// The key of the next [`insert`](Self::insert). `None`: keys have no room for more.
    pub(super) fn next_key(&mut self) -> Option<Key> {
        if self.free.is_empty() {
            let index = u32::try_from(self.places.len()).ok().filter(|_| self.places.len() < MAX_INDEX)?;
            self.places.push(Place { generation: FIRST_GENERATION, value: None });
            self.free.push(index);
        }
        let index = *self.free.last()?;
        Some(Key { index, generation: self.places[index as usize].generation })
    }

    /// `key`: from [`next_key`](Self::next_key), with nothing inserted since.
    pub(super) fn insert(&mut self, key: Key, value: T) {
        debug_assert_eq!(self.free.last(), Some(&key.index));
        self.free.pop();
        self.places[key.index as usize].value = Some(value);
        self.taken += 1;
    }

    pub(super) fn find(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    /// Whatever is at this place now.
    pub(super) fn at(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.value.as_mut()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = following(place.generation);
        self.free.push(key.index);
        self.taken -= 1;
        Some(value)
    }

    /// Of all that are there now.
    pub(super) fn keys(&self) -> Vec<Key> {
        let keys = (0..).zip(&self.places).filter(|(_, place)| place.value.is_some());
        keys.map(|(index, place)| Key { index, generation: place.generation }).collect()
    }
}

/// What an event of the poll is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Worker,
    Waker,
    Alarm,
    /// By the place of its address in the builder's order.
    Door(u16),
    /// What the service has registered.
    Source(u32),
    Connection(Key),
}

impl Target {
    pub(super) fn token(self) -> Token {
        let (index, generation) = match self {
            Target::Worker => (0, NOT_OF_SERVICE),
            Target::Waker => (1, NOT_OF_SERVICE),
            Target::Alarm => (2, NOT_OF_SERVICE),
            Target::Door(address) => (3 + u32::from(address), NOT_OF_SERVICE),
            Target::Source(id) => (id, SOURCES),
            Target::Connection(Key { index, generation }) => (index, generation),
        };
        Token((generation as usize) << INDEX_BITS | index as usize)
    }

    /// Of a token that [`token`](Self::token) has made.
    #[inline]
    pub(super) fn of(Token(token): Token) -> Self {
        let index = (token & MAX_INDEX) as u32;
        match (token >> INDEX_BITS) as u32 {
            NOT_OF_SERVICE => match index {
                0 => Target::Worker,
                1 => Target::Waker,
                2 => Target::Alarm,
                door => Target::Door((door - 3) as u16),
            },
            SOURCES => Target::Source(index),
            generation => Target::Connection(Key { index, generation }),
        }
    }
}

fn following(generation: u32) -> u32 {
    if generation as usize >= MAX_INDEX { FIRST_GENERATION } else { generation + 1 }
}

/// Half of a token each: 32 bits on a 64-bit machine.
const INDEX_BITS: u32 = usize::BITS / 2;
pub(super) const MAX_INDEX: usize = usize::MAX >> INDEX_BITS;

/// The generations of connections begin above those of everything else.
const NOT_OF_SERVICE: u32 = 0;
const SOURCES: u32 = 1;
const FIRST_GENERATION: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_an_earlier_value_finds_nothing() {
        let mut table = Table::new();
        let insert = |table: &mut Table<&'static str>, name| {
            let key = table.next_key().unwrap();
            table.insert(key, name);
            key
        };
        let (first, other) = (insert(&mut table, "first"), insert(&mut table, "other"));
        assert_eq!(table.remove(first), Some("first"));
        let second = insert(&mut table, "second");
        assert!(second.index == first.index && second != first, "the place is used again, the key is not");
        assert!(table.find(first).is_none() && table.remove(first).is_none());
        assert_eq!(table.find(second).copied(), Some("second"));
        assert_eq!((table.len(), table.keys()), (2, vec![second, other]));
    }

    #[test]
    fn target_survives_its_token() {
        let key = Key { index: 7, generation: FIRST_GENERATION };
        let last = Key { index: MAX_INDEX as u32, generation: MAX_INDEX as u32 };
        let targets =
            [Target::Worker, Target::Waker, Target::Alarm, Target::Door(0), Target::Door(u16::MAX), Target::Source(0)];
        for target in targets.into_iter().chain([key, last].map(Target::Connection)) {
            assert_eq!(Target::of(target.token()), target);
        }
        assert_eq!(following(MAX_INDEX as u32), FIRST_GENERATION, "never one of the others");
    }
}
