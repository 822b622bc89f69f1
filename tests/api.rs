//! Which public types may cross threads: part of the promise, checked by the compiler.

use mio_cluster::{
    Address, Cause, Cluster, Error, Event, ExitStatus, Listen, Listener, Master, ReadyWhen, Restart, Shutdown, Signal,
    Slot, State, Worker, WorkerEvent, WorkerHandle, WorkerId, WorkerInfo, WorkerRef,
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

#[test]
fn values_may_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Address>();
    anywhere::<Cause>();
    anywhere::<Error>();
    anywhere::<Event>();
    anywhere::<ExitStatus>();
    anywhere::<Listen>();
    anywhere::<ReadyWhen>();
    anywhere::<Restart>();
    anywhere::<Shutdown>();
    anywhere::<Signal>();
    anywhere::<Slot>();
    anywhere::<State>();
    anywhere::<WorkerEvent>();
    anywhere::<WorkerHandle>();
    anywhere::<WorkerId>();
    anywhere::<WorkerInfo>();
    anywhere::<WorkerRef>();
}

#[test]
fn a_listener_is_shared_and_a_worker_moved() {
    assert!(holds!(Listener: Send + Sync));
    assert!(holds!(Worker: Send));
    assert!(!holds!(Worker: Sync));
    assert!(!holds!(Worker: Clone));
}

#[test]
fn a_master_stays_on_its_thread() {
    assert!(!holds!(Master: Send));
    assert!(!holds!(Master: Sync));
    assert!(!holds!(Cluster: Send), "it may hold a hook");
}
