//! The program behind `scripts/bench/messages`: what messages between master and workers cost. Its one argument says
//! what is measured; it prints one line of `name=value` words.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a measurement: what goes wrong ends it, and it knows the events that it waits for"
)]

use std::{
    env, fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use mio_cluster::{
    Cluster, Event, Master, Result, Shutdown, Worker, WorkerEvent, WorkerId,
    mio::{Events, Interest, Poll, Token},
};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("one-way") => one_way(),
        Some("round-trip") => round_trip(),
        Some("bulk") => bulk(),
        Some("stuck") => stuck(),
        _ => {
            eprintln!("usage: bench_messages one-way|round-trip|bulk|stuck");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// From one worker to the master, as fast as they can.
fn one_way() {
    let mut master = start(1, |worker| pour(worker, ONE_WAY, |_number| vec![b'x'; SMALL]));
    let (mut start, mut count) = (None, 0);
    until(&mut master, |_, event| {
        if let Event::Message { message, .. } = event {
            assert_eq!(message.bytes.len(), SMALL);
            start.get_or_insert_with(Instant::now);
            count += 1;
        }
        count == ONE_WAY
    });
    println!("per_second={:.0}", ONE_WAY as f64 / start.unwrap().elapsed().as_secs_f64());
    end(master);
}

fn round_trip() {
    let mut master = start(1, echo);
    let mut times = trips(&mut master, None, ROUND_TRIPS);
    println!("p50_us={:.2} p99_us={:.2}", percentile(&mut times, 50), percentile(&mut times, 99));
    end(master);
}

/// A gigabyte to the master, each message marked with its number in front and behind.
fn bulk() {
    let mut master = start(1, |worker| {
        pour(worker, BULK, |number| {
            let mut bytes = vec![number as u8; LARGE];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            bytes[LARGE - 8..].copy_from_slice(&number.to_le_bytes());
            bytes
        })
    });
    until(&mut master, |_, event| matches!(event, Event::Ready(_)));
    let (start, before, mut count) = (Instant::now(), peak_from_now(), 0_u64);
    until(&mut master, |_, event| {
        if let Event::Message { message, .. } = event {
            let marks = [&message.bytes[..8], &message.bytes[LARGE - 8..]];
            assert_eq!((message.bytes.len(), marks), (LARGE, [&count.to_le_bytes()[..]; 2]), "message {count}");
            count += 1;
        }
        count == BULK
    });
    let (seconds, grown) = (start.elapsed().as_secs_f64(), status("VmHWM:") - before);
    println!("messages={count} mib_per_second={:.0} grown_mib={:.1}", BULK as f64 / seconds, grown as f64 / 1024.0);
    end(master);
}

/// One of two workers never reads, and the master sends to it without end; meanwhile it talks to the other one.
fn stuck() {
    let mut master = start(2, |worker| if worker.slot().index() == 0 { never_reads() } else { echo(worker) });
    let mut ready = Vec::new();
    until(&mut master, |_, event| {
        if let Event::Ready(worker) = event {
            ready.push((worker.slot, worker.id));
        }
        ready.len() == 2
    });
    ready.sort();
    let (deaf, other) = (ready[0].1, ready[1].1);
    // With the same pauses: how long a trip takes depends on how deeply a CPU sleeps in between.
    let one = |master: &mut Master| {
        let messages = [(); 10].map(|()| vec![0_u8; STUCK]);
        let time = trips(master, Some(other), 1);
        drop(std::hint::black_box(messages));
        time
    };
    let mut before: Vec<f64> = (0..STUCK_TRIPS).flat_map(|_| one(&mut master)).collect();
    let memory = peak_from_now();
    let (mut sent, mut refused, mut during) = (0, 0, Vec::new());
    for _ in 0..STUCK_TRIPS {
        for _ in 0..10 {
            match master.send(deaf, vec![0; STUCK]) {
                Ok(()) => sent += 1,
                Err(error) if error.is_would_block() => refused += 1,
                Err(error) => panic!("{error:#}"),
            }
        }
        during.append(&mut trips(&mut master, Some(other), 1));
    }
    let grown = (status("VmHWM:") - memory) as f64 / 1024.0;
    println!(
        "sent={sent} refused={refused} grown_mib={grown:.1} other_p50_us={:.2} other_before_p50_us={:.2}",
        percentile(&mut during, 50),
        percentile(&mut before, 50)
    );
    master.shutdown(Shutdown::Now);
    while master.wait(None).unwrap().is_some() {}
}

/// There and back, one after the other, each in microseconds. `None`: with the first worker that is ready.
fn trips(master: &mut Master, with: Option<WorkerId>, count: usize) -> Vec<f64> {
    let with = with.unwrap_or_else(|| {
        loop {
            if let Some(Event::Ready(worker)) = master.wait(None).unwrap() {
                break worker.id;
            }
        }
    });
    let one = |_| {
        let start = Instant::now();
        master.send(with, [b'x'; SMALL].as_slice()).unwrap();
        until(master, |_, event| matches!(event, Event::Message { .. }));
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..count).map(one).collect()
}

/// A worker that sends so many, and waits for room when there is none.
fn pour(worker: Worker, count: u64, message: impl Fn(u64) -> Vec<u8>) -> Result<()> {
    let mut sent = 0;
    let mut go_on = move |worker: &Worker| {
        let mut next = None;
        while sent < count {
            match worker.send(next.take().unwrap_or_else(|| message(sent))) {
                Ok(()) => sent += 1,
                Err(error) if error.is_would_block() => return,
                Err(error) => panic!("{error:#}"),
            }
        }
    };
    go_on(&worker);
    talk(worker, |worker, event| {
        if let WorkerEvent::Writable = event {
            go_on(worker);
        }
    })
}

fn echo(worker: Worker) -> Result<()> {
    talk(worker, |worker, event| {
        if let WorkerEvent::Message(message) = event {
            worker.send(message).unwrap();
        }
    })
}

fn never_reads() -> Result<()> {
    loop {
        std::thread::park();
    }
}

fn talk(mut worker: Worker, mut hear: impl FnMut(&mut Worker, WorkerEvent)) -> Result<()> {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut worker, Token(0), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(8);
    while !worker.is_draining() {
        worker.poll(&mut poll, &mut events, None).unwrap();
        while let Some(event) = worker.next_event() {
            hear(&mut worker, event);
        }
    }
    Ok(())
}

fn start(workers: usize, work: impl FnOnce(Worker) -> Result<()> + 'static) -> Master {
    Cluster::new().workers(workers).drain_timeout(Duration::MAX).start(work).unwrap()
}

fn until(master: &mut Master, mut see: impl FnMut(&mut Master, Event) -> bool) {
    while let Some(event) = master.wait(None).unwrap() {
        if see(master, event) {
            return;
        }
    }
    panic!("the cluster has ended");
}

fn end(mut master: Master) {
    master.shutdown(Shutdown::Drain);
    while master.wait(None).unwrap().is_some() {}
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() * percent / 100]
}

/// The memory of this process in KiB; from now on `VmHWM` is the most that it has after this.
fn peak_from_now() -> u64 {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Bytes of a small message.
const SMALL: usize = 64;
const ONE_WAY: u64 = 2_000_000;
const ROUND_TRIPS: usize = 20_000;

/// Bytes of a large message, and how many make a gigabyte.
const LARGE: usize = 1 << 20;
const BULK: u64 = 1 << 10;

/// Bytes of the messages for a worker that never reads, and round trips with the other one meanwhile.
const STUCK: usize = 60_000;
const STUCK_TRIPS: usize = 5_000;
