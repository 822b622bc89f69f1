//! Which public types may cross threads, what else they can do: part of the promise, checked by the compiler.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use mio_cluster::{
    Address, Balance, Cause, Closed, Closes, Cluster, Deadline, DoorStats, Ends, Error, Event, ExitStatus, Hang, Io,
    Key, Layer, Listen, Listener, Mailbox, Master, Message, Posted, ReadyWhen, Recycle, RequestId, Restart, Rollout,
    RolloutId, RolloutResult, Row, Scoreboard, Serve, Shutdown, Signal, Slot, SourceId, State, TimerId, Totals, Turn,
    UnixListener, Worker, WorkerEvent, WorkerHandle, WorkerId, WorkerInfo, WorkerRef, WorkerStats, mio::event::Source,
};

/// `T` in the position of `&T` finds the inherent constant if the bound holds, the trait's otherwise.
macro_rules! holds {
    ($type:ty: $($bound:tt)+) => {{
        #[allow(dead_code, reason = "not reached if the bound holds")]
        trait Otherwise {
            const HOLDS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "not reached if the bound does not hold")]
        impl<T: ?Sized + $($bound)+> Probe<T> {
            const HOLDS: bool = true;
        }
        <Probe<$type>>::HOLDS
    }};
}

fn anywhere<T: Send + Sync + 'static>() {}

#[test]
fn rules_may_go_anywhere() {
    anywhere::<Balance>();
    anywhere::<Hang>();
    anywhere::<Listen>();
    anywhere::<ReadyWhen>();
    anywhere::<Recycle>();
    anywhere::<Restart>();
    anywhere::<Rollout>();
    anywhere::<Serve>();
}

#[test]
fn values_may_go_anywhere() {
    anywhere::<Address>();
    anywhere::<Cause>();
    anywhere::<Closed>();
    anywhere::<Closes>();
    anywhere::<Deadline>();
    anywhere::<DoorStats>();
    anywhere::<Ends>();
    anywhere::<Error>();
    anywhere::<Event>();
    anywhere::<ExitStatus>();
    anywhere::<Key>();
    anywhere::<Layer>();
    anywhere::<Mailbox>();
    anywhere::<Message>();
    anywhere::<RequestId>();
    anywhere::<RolloutId>();
    anywhere::<RolloutResult>();
    anywhere::<Row>();
    anywhere::<Scoreboard>();
    anywhere::<Shutdown>();
    anywhere::<Signal>();
    anywhere::<Slot>();
    anywhere::<SourceId>();
    anywhere::<State>();
    anywhere::<TimerId>();
    anywhere::<Totals>();
    anywhere::<WorkerEvent>();
    anywhere::<WorkerHandle>();
    anywhere::<WorkerId>();
    anywhere::<WorkerInfo>();
    anywhere::<WorkerRef>();
    anywhere::<WorkerStats>();
}

#[test]
fn the_scoreboard_and_its_rows_are_handles() {
    assert!(holds!(Row: Clone));
    assert!(holds!(Scoreboard: Clone));
}

#[test]
fn a_listener_is_shared_and_a_worker_moved() {
    assert!(holds!(Listener: Send + Sync));
    assert!(holds!(UnixListener: Send + Sync));
    assert!(holds!(Worker: Send));
    assert!(!holds!(Worker: Sync));
    assert!(!holds!(Worker: Clone));
    assert!(!holds!(Message: Clone), "a descriptor has one owner");
}

#[test]
fn what_a_callback_gets_stays_on_the_loops_thread() {
    assert!(!holds!(Io<'static>: Send));
    assert!(!holds!(Turn<'static>: Send));
    assert!(holds!(Posted: Send));
    assert!(!holds!(Posted: Sync));
}

#[cfg(feature = "tokio")]
#[test]
fn waiting_moves_between_the_threads_of_a_runtime() {
    fn sent<T: Send>(_: T) {}
    fn spawned<T: Send + 'static>(_: T) {}
    // Compiled and not called: there is no worker in this process.
    let _ = |worker: &mut Worker| sent(worker.event());
    let _ = |worker: Worker| spawned(worker.drained());
}

#[test]
fn a_master_stays_on_its_thread() {
    assert!(!holds!(Master: Send));
    assert!(!holds!(Master: Sync));
    assert!(!holds!(Cluster: Send), "it may hold a hook");
}

/// So that a new public type is not forgotten above.
#[test]
fn every_public_type_is_looked_at() {
    let exports = include_str!("../src/lib.rs").split("\npub use ").skip(1).filter_map(|text| text.split(';').next());
    let names = exports.flat_map(|text| text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
    let types: Vec<String> = names.filter(|name| name.starts_with(char::is_uppercase)).collect();
    let looked_at = |name: &String| {
        let here = include_str!("api.rs");
        [format!("anywhere::<{name}>"), format!("holds!({name}: "), format!("holds!({name}<")]
            .iter()
            .any(|text| here.contains(text))
    };
    // Traits, and an alias.
    let others = ["Service", "WorkerExit", "Result"];
    let missing: Vec<&String> =
        types.iter().filter(|name| !others.contains(&name.as_str()) && !looked_at(name)).collect();
    assert!(types.len() > 20 && missing.is_empty(), "no statement on {missing:?}, of {types:?}");
}

#[test]
fn a_registered_value_is_one_descriptor() {
    fn pollable<T: AsFd + AsRawFd + Source>() {}
    pollable::<Master>();
    pollable::<Worker>();
    pollable::<Listener>();
}

/// Of an error that comes from the builder; the other kinds are in the module of `Error`.
#[test]
fn errors_convert_and_print() {
    fn fails() -> io::Result<()> {
        Ok(Cluster::new().workers(0).run(|_worker| ())?)
    }
    let error = fails().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).expect("it is kept whole");
    assert_eq!(ours.exit_code(), 2);
    assert_eq!(format!("{ours:?}"), format!("{ours:#}"));
}
