//! The connections of one worker, found by their mio token in constant time.
//!
//! An index is used again as soon as its connection is gone, while an event or a deadline of the old one may still be
//! on its way. So a token also holds the generation of its index: one of an earlier generation finds nothing.

use std::io;

use mio_cluster::mio::Token;

pub(crate) struct Table<T> {
    rows: Vec<Row<T>>,
    free: Vec<usize>,
}

struct Row<T> {
    generation: usize,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), free: Vec::new() }
    }

    /// Adds what `make` makes for its token; nothing is added if that fails.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Token) -> io::Result<T>) -> io::Result<Token> {
        let index = self.free.last().copied().unwrap_or(self.rows.len());
        if index > INDEX {
            return Err(io::Error::other("the table of connections is full"));
        }
        let generation = self.rows.get(index).map_or(1, |row| row.generation);
        let token = Token(generation << INDEX_BITS | index);
        let value = Some(make(token)?);
        match self.rows.get_mut(index) {
            Some(row) => {
                row.value = value;
                self.free.pop();
            }
            None => self.rows.push(Row { generation, value }),
        }
        Ok(token)
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.row(token)?.value.as_mut()
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        let row = self.row(token)?;
        let value = row.value.take()?;
        row.generation = (row.generation + 1) & INDEX;
        // Generation 0 is left to the tokens of the doors.
        row.generation = row.generation.max(1);
        self.free.push(token.0 & INDEX);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        let taken = self.rows.iter().enumerate().filter(|(_, row)| row.value.is_some());
        taken.map(|(index, row)| Token(row.generation << INDEX_BITS | index)).collect()
    }

    fn row(&mut self, token: Token) -> Option<&mut Row<T>> {
        let row = self.rows.get_mut(token.0 & INDEX)?;
        (row.generation == token.0 >> INDEX_BITS).then_some(row)
    }
}

/// Half of the token each: on 64 bits more connections than there can be descriptors, and 4 billion generations.
const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX: usize = (1 << INDEX_BITS) - 1;
