//! planted faults
