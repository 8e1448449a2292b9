//! Compiles `proto/` without `protoc`: protox parses, tonic generates.

use prost::Message;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = ["record", "produce", "consume", "topic", "cluster", "group"]
        .map(|name| root.join(format!("quipu/v1/{name}.proto")));
    let descriptors = protox::compile(&files, [&root])?;
    // Broker to broker: not for clients, so not in what reflection shows.
    let internal =
        ["raft", "controller", "replica"].map(|name| root.join(format!("quipu/internal/v1/{name}.proto")));
    let all = protox::compile(files.iter().chain(&internal), [&root])?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // Batches are many pieces of memory that must not be joined before they are sent.
        .extern_path(".quipu.v1.EncodedBatches", "crate::EncodedBatches")
        // Weighs a request before it decodes it.
        .codec_path("crate::codec::Codec")
        .compile_fds(all)?;
    Ok(())
}
