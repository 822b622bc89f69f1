use std::{hint, sync::atomic::AtomicUsize, thread, time::Duration};

use mio::{Events, Poll, Token};

use super::*;

const KEY: Key = Key { index: 1, generation: 2 };

/// A loop that counts how often it was woken.
struct Loop {
    poll: Poll,
    events: Events,
    mailbox: Mailbox,
    inbox: Inbox,
}

impl Loop {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let (mailbox, inbox) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
        Self { poll, events: Events::with_capacity(8), mailbox, inbox }
    }

    fn wake_ups(&mut self, timeout: Option<Duration>) -> usize {
        self.poll.poll(&mut self.events, timeout).unwrap();
        self.events.iter().count()
    }

    fn numbers(&mut self) -> Vec<usize> {
        let letters = std::iter::from_fn(|| self.inbox.next());
        letters.map(|(_, letter)| number(letter)).collect()
    }
}

fn number(letter: Letter) -> usize {
    match letter {
        Letter::Posted(value) | Letter::JobEnded(Ok(value)) => value.downcast().unwrap(),
        Letter::JobEnded(Err(text)) => panic!("{text}"),
    }
}

#[test]
fn many_values_ring_once() {
    let mut turn = Loop::new();
    (0..100_usize).for_each(|number| turn.mailbox.post(KEY, number).unwrap());
    assert_eq!(turn.wake_ups(None), 1);
    assert_eq!(turn.inbox.next().map(|(key, letter)| (key, number(letter))), Some((KEY, 0)));
    turn.mailbox.post(KEY, 100_usize).unwrap();
    assert!(turn.inbox.is_rung(), "the loop may not sleep now,");
    assert_eq!(turn.wake_ups(Some(Duration::ZERO)), 0, "as nobody rings");
    assert_eq!(turn.numbers(), (1..=100).collect::<Vec<_>>());
    assert!(!turn.inbox.is_rung());
    turn.mailbox.job_ended(KEY, Ok(Posted::new(7_usize)));
    assert_eq!((turn.wake_ups(None), turn.numbers()), (1, vec![7]));
}

/// A sender that goes on the moment its last value was taken, just when the loop looks once more and goes to sleep: a
/// lost wake-up would be for ever.
#[test]
fn no_wake_up_is_lost() {
    const VALUES: usize = 20_000;
    let mut turn = Loop::new();
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (mailbox, taken) = (turn.mailbox.clone(), &taken);
        scope.spawn(move || {
            for number in 0..VALUES {
                mailbox.post(KEY, number).unwrap();
                while taken.load(Ordering::Relaxed) <= number {
                    hint::spin_loop();
                }
            }
        });
        while taken.load(Ordering::Relaxed) < VALUES {
            turn.wake_ups(None);
            while turn.inbox.next().is_some() {
                let now = taken.fetch_add(1, Ordering::Relaxed);
                // Meanwhile the sender comes nearer to ringing, to a different point each time.
                (0..now % 100).for_each(|_| hint::spin_loop());
            }
        }
    });
    assert!(turn.inbox.next().is_none());
}

#[test]
fn only_the_ends_of_jobs_exceed_the_capacity() {
    let mut turn = Loop::new();
    (0..CAPACITY).for_each(|number| turn.mailbox.post(KEY, number).unwrap());
    let error = turn.mailbox.post(KEY, ()).unwrap_err();
    assert!(error.is_would_block() && error.to_string().contains("65536 values wait"), "{error}");
    turn.mailbox.job_ended(KEY, Ok(Posted::new(CAPACITY)));
    assert_eq!(format!("{:?}", turn.mailbox), "Mailbox { waiting: 65537, .. }");
    assert_eq!(turn.numbers().len(), CAPACITY + 1);
    turn.mailbox.post(KEY, ()).unwrap();
}

#[test]
fn nobody_hears_when_the_loop_has_ended() {
    let Loop { mailbox, inbox, .. } = Loop::new();
    let value = Arc::new(());
    mailbox.post(KEY, Arc::clone(&value)).unwrap();
    drop(inbox);
    assert_eq!(Arc::strong_count(&value), 1, "what was not taken is dropped");
    let error = mailbox.post(KEY, Arc::clone(&value)).unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("has ended"), "{error}");
    mailbox.job_ended(KEY, Ok(Posted::new(Arc::clone(&value))));
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_value_of_another_type_is_kept() {
    let value = Posted::new(String::from("text"));
    assert!(value.is::<String>() && !value.is::<u64>());
    let value = value.downcast::<u64>().unwrap_err();
    assert_eq!(value.downcast::<String>().unwrap(), "text");
}

impl Inbox {
    /// The next letter, waited for; `None`: nobody is left who could send one.
    pub(in crate::serve) fn wait(&self) -> Option<(Key, Letter)> {
        self.letters.recv().ok()
    }
}
