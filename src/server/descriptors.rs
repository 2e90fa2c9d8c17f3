//! The open files of the process: connections never take those that log, journal, snapshots and the ways to other
//! servers need.

use std::os::fd::AsRawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that connections leave free.
const KEPT_BACK: u64 = 128;
/// Where there are few, the part of them that connections leave free.
const SHARE_KEPT_BACK: u64 = 4;

/// Raises the process's own limit of open files to what is wanted, or as far as the system lets it.
pub(super) fn make_room_for(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(wanted, |most| wanted.min(most));
    if limit.current.is_some_and(|current| current < wanted) {
        // A refusal leaves what there was, and whoever then lacks a file says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
}

/// The descriptors that connections may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForConnections {
    /// The first one that is kept back.
    end: u64,
}

impl ForConnections {
    /// What the limit of the process leaves for connections.
    pub(super) fn of_process() -> ForConnections {
        ForConnections::of(getrlimit(Resource::Nofile).current)
    }

    fn of(limit: Option<u64>) -> ForConnections {
        let end = limit.map_or(u64::MAX, |limit| limit - KEPT_BACK.min(limit / SHARE_KEPT_BACK));
        ForConnections { end }
    }

    /// Whether a connection has one of those that are kept back. The system gives out the lowest that is free, so all
    /// others are in use then.
    pub(super) fn are_used_up_by(self, connection: &impl AsRawFd) -> bool {
        u64::try_from(connection.as_raw_fd()).is_ok_and(|descriptor| descriptor >= self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Descriptor(i32);

    impl AsRawFd for Descriptor {
        fn as_raw_fd(&self) -> i32 {
            self.0
        }
    }

    #[test]
    fn the_last_descriptors_are_kept_back() {
        for (limit, last) in [(Some(1_024), 895), (Some(200), 149), (None, i32::MAX)] {
            let connections = ForConnections::of(limit);
            assert!(!connections.are_used_up_by(&Descriptor(last)), "{limit:?}");
            if last < i32::MAX {
                assert!(connections.are_used_up_by(&Descriptor(last + 1)), "{limit:?}");
            }
        }
    }
}
