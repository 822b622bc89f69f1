//! From what a worker function returns to an exit code.

use std::{convert::Infallible, fmt::Display};

/// What a worker function may return: `()`, `!`, [`Infallible`], or a `Result` of those with an error that can be
/// displayed.
///
/// | the function | exit code | log |
/// |---|---|---|
/// | returns `()` or `Ok` | 0 | – |
/// | returns `Err` | 1 | one line with the error |
/// | panics | 101 | one line with the message |
///
/// ```no_run
/// use mio_cluster::{Cluster, Worker};
///
/// fn serve(mut worker: Worker) -> Result<(), mio_cluster::Error> {
///     let _listener = worker.listen()?;
///     Ok(())
/// }
///
/// # fn main() -> Result<(), mio_cluster::Error> {
/// Cluster::new().listen("127.0.0.1:0").run(serve)
/// # }
/// ```
pub trait WorkerExit {
    /// `Err` holds the text for the log.
    fn report(self) -> Result<(), String>;
}

impl WorkerExit for () {
    fn report(self) -> Result<(), String> {
        Ok(())
    }
}

impl WorkerExit for Infallible {
    fn report(self) -> Result<(), String> {
        match self {}
    }
}

impl WorkerExit for Never {
    fn report(self) -> Result<(), String> {
        self
    }
}

impl<T: WorkerExit, E: Display> WorkerExit for Result<T, E> {
    fn report(self) -> Result<(), String> {
        match self {
            Ok(value) => value.report(),
            // The alternate form holds the sources, too, where the error type has one.
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

/// The type `!`, which has no name on the stable compiler except as the result of a function pointer.
type Never = <fn() -> ! as Returns>::Output;

#[doc(hidden)]
pub trait Returns {
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::error::Error;

    fn report(exit: impl WorkerExit) -> Result<(), String> {
        exit.report()
    }

    #[test]
    fn every_kind_of_worker_function_is_accepted() {
        fn accept<R: WorkerExit>(_function: impl FnOnce() -> R) {}
        accept(|| panic!("is not called"));
        accept(|| -> Result<Infallible, io::Error> { panic!("is not called") });
        accept(|| -> Infallible { panic!("is not called") });
        assert_eq!(report(()), Ok(()));
        assert_eq!(report(Ok::<(), io::Error>(())), Ok(()));
        assert_eq!(report(Err::<(), _>("no disk")), Err("no disk".to_owned()));
    }

    #[test]
    fn our_own_errors_keep_their_sources() {
        let error = Error::system("binding 1.2.3.4:5", io::Error::from_raw_os_error(13));
        assert_eq!(report(Err::<(), _>(error)), Err("binding 1.2.3.4:5: Permission denied (os error 13)".to_owned()));
    }
}
