//! What a fork copies, and what to do about it: each effect beside its cure, as lines of output. The guide
//! `docs::forking` has the reasons.
//!
//! ```text
//! cargo run --example fork_hygiene
//! ```
#![allow(clippy::print_stdout, reason = "it is there to be read")]

use std::{
    cell::RefCell,
    error::Error,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    rc::Rc,
    sync::{Mutex, mpsc},
    thread,
};

use mio_cluster::{Cluster, Restart, Worker};

fn main() -> ExitCode {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("warn"));
    let scratch = std::env::temp_dir().join(format!("fork_hygiene-{}", process::id()));
    let shown = fs::create_dir(&scratch).map_err(Box::from).and_then(|()| show(&scratch));
    let removed = fs::remove_dir_all(&scratch).map_err(Box::from);
    match shown.and(removed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn show(scratch: &Path) -> Result<(), Box<dyn Error>> {
    refused_beside_a_thread()?;
    println!("master: hash {:x}", RandomState::new().hash_one("key"));

    let paths = ["copied", "flushed", "text", "guarded", "kept"].map(|name| scratch.join(name));
    let [copied, flushed, text, guarded, kept] = &paths;
    fs::write(text, "onetwo")?;
    let _guard_in_main = Guard::new(kept)?;
    let lines = Rc::new(RefCell::new(lines(flushed)?));
    let copies = Copies {
        _lines: self::lines(copied)?,
        random: Random::new()?,
        text: File::open(text)?,
        text_at: text.clone(),
        _guard: Guard::new(guarded)?,
    };

    let held = HELD.lock();
    Cluster::new()
        .workers(2)
        .restart(Restart::Never)
        .before_fork(move |_slot| lines.borrow_mut().flush().unwrap_or_else(|error| log::error!("flushing: {error}")))
        .run(move |worker| copies.show(&worker))?;
    drop(held);

    let count = |path: &Path| fs::read_to_string(path).map(|text| text.lines().count());
    println!("master: lines of a buffer that was copied {}, that was flushed {}", count(copied)?, count(flushed)?);
    let there = |path: &Path| if path.exists() { "there" } else { "gone" };
    println!("master: file whose guard was copied {}, stayed in main {}", there(guarded), there(kept));
    Ok(())
}

/// What the worker function captures: each worker has a copy as it was at its fork, and drops it when it returns. The
/// master has the original and never drops it.
struct Copies {
    /// With a line that is not written yet.
    _lines: BufWriter<File>,
    random: Random,
    /// Opened before the fork: one position for all.
    text: File,
    text_at: PathBuf,
    _guard: Guard,
}

impl Copies {
    fn show(mut self, worker: &Worker) -> io::Result<()> {
        let id = worker.id();
        let state = |lock: &Mutex<()>| if lock.try_lock().is_ok() { "free" } else { "locked" };
        println!("worker {id}: lock that main held {}, that nobody held {}", state(&HELD), state(&FREE));

        let hash = || RandomState::new().hash_one("key");
        println!("worker {id}: hash {:x}, in a thread of its own {:x}", hash(), in_a_thread(hash)?);

        let copied = self.random.next();
        println!("worker {id}: random {copied:x}, seeded anew {:x}", Random::new()?.next());

        let (shared, own) = (read_a_word(&self.text)?, read_a_word(&File::open(&self.text_at)?)?);
        println!("worker {id}: reads from the copied descriptor {shared}, from one of its own {own}");
        Ok(())
    }
}

/// A fork copies one thread, so whatever the others hold would stay held: the library forks only where there is one.
fn refused_beside_a_thread() -> Result<(), Box<dyn Error>> {
    let (stop, stopped) = mpsc::channel::<()>();
    let other = thread::spawn(move || stopped.recv());
    let refused = Cluster::new().workers(1).run(|_worker| ()).is_err_and(|error| error.is_threads_running());
    drop(stop);
    let _disconnected = other.join().map_err(|_| "the other thread has panicked")?;
    println!("master: start beside a thread {}", if refused { "refused" } else { "done" });
    Ok(())
}

/// A buffer with one line, to a file.
fn lines(path: &Path) -> io::Result<BufWriter<File>> {
    let mut lines = BufWriter::new(File::create(path)?);
    writeln!(lines, "written once")?;
    Ok(lines)
}

/// Each thread has seeds of its own, from the system, when it makes its first map.
fn in_a_thread(work: impl FnOnce() -> u64 + Send) -> io::Result<u64> {
    thread::scope(|scope| scope.spawn(work).join()).map_err(|_| io::Error::other("the thread has panicked"))
}

/// The next three letters.
fn read_a_word(mut file: &File) -> io::Result<String> {
    let mut word = [0; 3];
    file.read_exact(&mut word)?;
    Ok(String::from_utf8_lossy(&word).into_owned())
}

/// Like the generator of a thread in the crate `rand`: seeded by the system once, and then computed.
struct Random(u64);

impl Random {
    fn new() -> io::Result<Self> {
        let mut seed = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Self(u64::from_ne_bytes(seed) | 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Removes its file when it is dropped, in whatever process.
struct Guard(PathBuf);

impl Guard {
    fn new(path: &Path) -> io::Result<Self> {
        File::create(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The other worker may have been first.
        let _ = fs::remove_file(&self.0);
    }
}

/// By `main`, at the time of the forks. It is not among those who run in a worker, so nobody there will let go.
static HELD: Mutex<()> = Mutex::new(());

static FREE: Mutex<()> = Mutex::new(());
