//! Transfers between branches: two-phase commit over the logs of both.
//!
//! The paying branch holds the money, asks the receiving branch, decides in its own log, and tells the decision until
//! the other branch has it. Nothing depends on the memory of the process that does this: the driver of a leader
//! reads what is open in its ledger and takes the next step, so it may run twice, late, and after any crash.
//!
//! Invariants: money is changed by commands of the two logs only, and of each the first decision counts; a branch
//! that said yes to a credit asks the payer and never gives up by itself; the other branch is reached through
//! [`Routes`] only. `api` calls [`Transfers`], other branches call [`TransferDoor`], `server` starts the [`Driver`].

mod desk;
mod door;
mod driver;
mod flight;
mod grpc;
mod inquiry;
mod message;
mod routes;
mod shown;
mod step;
mod transfers;
mod waiters;

pub use door::TransferDoor;
pub use driver::Driver;
pub use grpc::{EXCHANGE_MESSAGE_BYTES, TransferApi, transfer_service};
#[cfg(any(test, fuzzing))]
pub(crate) use message::read_anything as read_transfer_message;
pub use routes::{ClientRoutes, Routes};
pub use shown::{Doubt, InDoubt, Phase, PhaseKind, TransferShown, TransferState};
pub use step::PATIENCE;
pub use transfers::{Begun, Transfers};

#[cfg(test)]
pub(crate) mod tests;
