//! Contracts that older clients speak: the account manager and the branch process.

mod account;
mod branch;

pub use account::CompatApi;
pub use branch::BranchApi;
