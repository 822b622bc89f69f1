//! The kernel's array of the sockets that listen at one address, as it must be. Pure.
//!
//! A socket is appended when it begins to listen; when one leaves, the last moves into its place (`reuseport_add_sock`,
//! `__reuseport_detach_sock` in the kernel's sock_reuseport.c). The kernel tells nobody the order, but it follows from
//! the joins and the leaves, and those are the master's own acts, one after the other.

/// What is in the array, each once, by place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mirror<T>(Vec<T>);

/// Several left without the master, and what their order was makes a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OrderUnknown;

impl<T: Copy + PartialEq> Mirror<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn members(&self) -> &[T] {
        &self.0
    }

    pub(super) fn place(&self, member: T) -> Option<usize> {
        self.0.iter().position(|held| *held == member)
    }

    /// It listens from now on. Meanwhile, at a moment that nobody knows, `gone` have left.
    pub(super) fn join(&mut self, newcomer: T, gone: &[T]) -> Result<(), OrderUnknown> {
        let (mut before, mut after) = (self.clone(), self.clone());
        before.leave(gone)?;
        before.0.push(newcomer);
        after.0.push(newcomer);
        after.leave(gone)?;
        if before != after {
            return Err(OrderUnknown);
        }
        *self = after;
        Ok(())
    }

    /// These have left, in an order that nobody knows. On an error nothing has changed.
    pub(super) fn leave(&mut self, gone: &[T]) -> Result<(), OrderUnknown> {
        let Some(length) = self.0.len().checked_sub(gone.len()) else { return Err(OrderUnknown) };
        let (front, tail) = self.0.split_at(length);
        // Of those that stay, only what is behind the new end moves, and it moves into the holes in front of that.
        let holes: Vec<usize> = (0..length).filter(|place| gone.contains(&front[*place])).collect();
        let movers: Vec<T> = tail.iter().copied().filter(|member| !gone.contains(member)).collect();
        if holes.len() != movers.len() || holes.len() > 1 {
            return Err(OrderUnknown);
        }
        self.0.truncate(length);
        holes.iter().zip(movers).for_each(|(hole, mover)| self.0[*hole] = mover);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel does it.
    fn kernel_leaves(array: &mut Vec<u8>, member: u8) {
        let place = array.iter().position(|held| *held == member).unwrap();
        array.swap_remove(place);
    }

    fn orders(of: &[u8]) -> Vec<Vec<u8>> {
        if of.is_empty() {
            return vec![Vec::new()];
        }
        let first = |at: usize| (of[at], [&of[..at], &of[at + 1..]].concat());
        (0..of.len())
            .map(first)
            .flat_map(|(one, rest)| orders(&rest).into_iter().map(move |o| [vec![one], o].concat()))
            .collect()
    }

    #[test]
    fn the_last_moves_into_the_hole() {
        let mut mirror = Mirror::new();
        (0..4).for_each(|member| mirror.join(member, &[]).unwrap());
        mirror.leave(&[0]).unwrap();
        assert_eq!(mirror.members(), [3, 1, 2]);
        mirror.join(4, &[]).unwrap();
        mirror.leave(&[4]).unwrap();
        assert_eq!((mirror.members(), mirror.place(1), mirror.place(4)), (&[3, 1, 2][..], Some(1), None));
    }

    /// Every set of leavers in every order, with and without a join at any time between: it is known exactly when all
    /// orders end in the same array.
    #[test]
    fn the_order_is_known_when_it_makes_no_difference() {
        let all: Vec<u8> = (0..5).collect();
        for set in 0_u8..32 {
            let gone: Vec<u8> = all.iter().copied().filter(|member| set & (1 << member) != 0).collect();
            let outcome = |order: &[u8], join_at: Option<usize>| {
                let mut array = all.clone();
                for (at, member) in order.iter().enumerate() {
                    array.extend((join_at == Some(at)).then_some(9));
                    kernel_leaves(&mut array, *member);
                }
                array.extend((join_at == Some(order.len())).then_some(9));
                array
            };
            let agree =
                |outcomes: Vec<Vec<u8>>| outcomes.iter().all(|one| *one == outcomes[0]).then(|| outcomes[0].clone());
            let mut left = Mirror(all.clone());
            let known = left.leave(&gone).ok().map(|()| left.0);
            assert_eq!(known, agree(orders(&gone).iter().map(|order| outcome(order, None)).collect()), "{gone:?}");
            let mut joined = Mirror(all.clone());
            let known = joined.join(9, &gone).ok().map(|()| joined.0);
            let times = orders(&gone).into_iter().flat_map(|order| (0..=gone.len()).map(move |at| (order.clone(), at)));
            let truth = agree(times.map(|(order, at)| outcome(&order, Some(at))).collect());
            assert!(known.is_none() || known == truth, "{gone:?}: {known:?} is not {truth:?}");
            assert!(gone.len() > 1 || known == truth, "one that leaves is followed: {gone:?}");
        }
    }
}
