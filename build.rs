//! Compiles the protos in pure Rust, so that no `protoc` needs to be installed, and keeps the descriptor
//! set for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: [&str; 8] = [
    "bank/v1/bank.proto",
    "bank/v1/cluster.proto",
    "bank/peer/v1/peer.proto",
    "bank/peer/v1/transfer.proto",
    "compat/bank_account.proto",
    "compat/branch.proto",
    "compat/example.proto",
    "compat/bank.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Ordered maps, so that an answer that is given again is the same bytes.
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
