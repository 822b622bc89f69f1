//! Requests to workers that wait for their replies. No I/O: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crate::id::{RequestId, WorkerId};

pub(super) struct Requests {
    next: RequestId,
    open: BTreeMap<RequestId, Open>,
    deadlines: BTreeSet<(Instant, RequestId)>,
}

struct Open {
    worker: WorkerId,
    deadline: Instant,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { next: RequestId::FIRST, open: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    pub(super) fn begin(&mut self, worker: WorkerId, deadline: Instant) -> RequestId {
        let mut id = self.next;
        // They come round after four billion.
        while self.open.contains_key(&id) {
            id = id.next();
        }
        self.next = id.next();
        self.open.insert(id, Open { worker, deadline });
        self.deadlines.insert((deadline, id));
        id
    }

    /// It could not be sent, or its worker has replied. False: there is no such request to this worker, or no longer.
    pub(super) fn end(&mut self, id: RequestId, worker: WorkerId) -> bool {
        match self.open.get(&id) {
            Some(open) if open.worker == worker => {
                self.deadlines.remove(&(open.deadline, id));
                self.open.remove(&id);
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// One whose time is over, until there is none.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(RequestId, WorkerId)> {
        let (deadline, id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        self.open.remove(&id).map(|open| (id, open.worker))
    }

    /// Those that nobody will reply to any more.
    pub(super) fn worker_left(&mut self, worker: WorkerId) -> Vec<RequestId> {
        let left = self.open.iter().filter(|(_, open)| open.worker == worker).map(|(id, _)| *id);
        let left: Vec<RequestId> = left.collect();
        for id in &left {
            self.end(*id, worker);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_request_ends_once() {
        let (one, other) = (WorkerId::FIRST, WorkerId::FIRST.next());
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut requests = Requests::new();
        let [late, answered, lost] =
            [(one, 10), (one, 20), (other, 5000)].map(|(worker, ms)| requests.begin(worker, after(ms)));
        assert_eq!(requests.deadline(), Some(after(10)));

        assert!(!requests.end(answered, other), "nobody else may answer");
        assert!(requests.end(answered, one) && !requests.end(answered, one), "nor twice");
        assert_eq!(requests.overdue(after(9)), None);
        assert_eq!((requests.overdue(after(10)), requests.overdue(after(10))), (Some((late, one)), None));
        assert!(!requests.end(late, one), "too late");
        assert_eq!((requests.worker_left(other), requests.worker_left(other)), (vec![lost], vec![]));
        assert_eq!((requests.deadline(), requests.overdue(after(9999))), (None, None));
    }

    #[test]
    fn ids_come_round_and_skip_those_in_use() {
        let mut requests = Requests::new();
        let first = requests.begin(WorkerId::FIRST, Instant::now());
        requests.next = RequestId::from_raw(u32::MAX).unwrap();
        let last = requests.begin(WorkerId::FIRST, Instant::now());
        let next = requests.begin(WorkerId::FIRST, Instant::now());
        assert_eq!([first, last, next].map(|id| id.as_u32()), [1, u32::MAX, 2]);
    }
}
