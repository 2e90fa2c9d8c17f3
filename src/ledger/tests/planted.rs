//! The planted faults of promises: each breaks something that these histories show.
