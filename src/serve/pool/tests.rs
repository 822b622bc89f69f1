use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
};

use mio::{Poll, Token, Waker};

use super::*;
use crate::serve::mailbox::{Inbox, Letter, mailbox};

fn key(index: u32) -> Key {
    Key { index, generation: 1 }
}

fn start(threads: usize, queue: usize) -> (Pool, Inbox) {
    let poll = Poll::new().unwrap();
    let (mailbox, inbox) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
    (Pool::start(threads, queue, mailbox).unwrap(), inbox)
}

fn job<T: Any + Send>(work: impl FnOnce() -> T + Send + 'static) -> Job {
    Box::new(move || Posted::new(work()))
}

/// The text of a job's end, waited for.
fn next_end(inbox: &Inbox) -> Option<(Key, Result<String, String>)> {
    inbox.wait().map(|(key, letter)| match letter {
        Letter::JobEnded(result) => (key, result.map(|value| value.downcast().unwrap())),
        Letter::Posted(_) => panic!("nobody has posted"),
    })
}

/// Keeps every thread busy until what it returns is dropped; the receiver hears when all are.
fn occupy(pool: &Pool, threads: usize) -> Vec<SyncSender<()>> {
    let (busy, is_busy) = mpsc::channel();
    let gates = (0..threads).map(|_| {
        let ((gate, opened), busy) = (mpsc::sync_channel::<()>(0), busy.clone());
        let work = move || {
            busy.send(()).unwrap();
            let _ = opened.recv();
            String::from("was busy")
        };
        pool.submit(key(0), job(work)).unwrap();
        is_busy.recv().unwrap();
        gate
    });
    gates.collect()
}

#[test]
fn every_job_ends_once_also_by_a_panic() {
    let (pool, inbox) = start(3, 100);
    for index in 1..=50 {
        let work = move || match index % 10 {
            0 => panic!("number {index} panics"),
            _ => index.to_string(),
        };
        pool.submit(key(index), job(work)).unwrap();
    }
    let ends: BTreeMap<Key, Result<String, String>> = (0..50).map(|_| next_end(&inbox).unwrap()).collect();
    assert_eq!((ends.len(), &ends[&key(7)]), (50, &Ok("7".to_owned())));
    assert_eq!(ends[&key(10)], Err("number 10 panics".to_owned()));
    pool.submit(key(51), job(|| thread::current().name().unwrap_or_default().to_owned())).unwrap();
    assert!(next_end(&inbox).unwrap().1.unwrap().starts_with("job-"), "the threads live on");
}

#[test]
fn a_full_queue_says_so() {
    let (pool, inbox) = start(2, 3);
    let gates = occupy(&pool, 2);
    (1..=3).for_each(|index| pool.submit(key(index), job(String::new)).unwrap());
    let error = pool.submit(key(4), job(String::new)).unwrap_err();
    assert!(error.is_would_block());
    for word in ["3 jobs wait", "2 threads", "Serve::queue", "Serve::threads"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    drop(gates);
    (0..5).for_each(|_| assert!(next_end(&inbox).unwrap().1.is_ok()));
    pool.submit(key(4), job(String::new)).unwrap();
}

#[test]
fn without_threads_the_error_says_how_to_get_them() {
    let error = start(0, 1024).0.submit(key(1), job(|| ())).unwrap_err();
    assert!(error.is_invalid_config() && error.to_string().contains("Serve::threads"), "{error}");
}

#[test]
fn the_end_waits_for_nobody() {
    let (pool, inbox) = start(2, 10);
    let gates = occupy(&pool, 1);
    let waits = Arc::new(());
    let more = occupy(&pool, 1);
    for index in 1..=10 {
        let waits = Arc::clone(&waits);
        pool.submit(key(index), job(move || drop(waits))).unwrap();
    }
    drop(pool);
    assert_eq!(Arc::strong_count(&waits), 1, "what waited is dropped");
    drop((gates, more));
    // The loop is still there: it gets the ends of those that ran, then all threads have gone.
    let ends: Vec<_> = std::iter::from_fn(|| next_end(&inbox)).collect();
    assert_eq!(ends, [(key(0), Ok("was busy".to_owned())), (key(0), Ok("was busy".to_owned()))]);
}

#[test]
fn a_job_may_end_after_the_loop() {
    let (pool, inbox) = start(1, 1);
    let gates = occupy(&pool, 1);
    let (mailbox, value) = (pool.outbox.clone(), Arc::new(()));
    let kept = Arc::clone(&value);
    pool.submit(key(1), job(move || kept)).unwrap();
    drop(inbox);
    drop(gates);
    // The thread does not hang in what nobody takes: it goes on to the second job and drops its result, too.
    while Arc::strong_count(&value) > 1 {
        thread::yield_now();
    }
    assert!(mailbox.post(key(1), ()).unwrap_err().is_gone());
}
