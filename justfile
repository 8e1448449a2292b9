# What a contributor needs. `just` alone lists it.

default:
    @just --list

# Everything that decides whether a change lands.
ci:
    .ci/run

# What the README promises to pass.
test *ARGS:
    cargo test --workspace {{ARGS}}

# Format and lints, as CI checks them.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check bans licenses sources

# The project's own shape: layering, lengths, bans.
tidy:
    cargo test -p quipu --test tidy

# Lint the protos and compare them with the last release.
protos:
    buf lint
    buf breaking --against proto/baseline.binpb

# Renew the protos' baseline; at a release only.
protos-baseline:
    buf build -o proto/baseline.binpb

# The proof on real data.
demo:
    cargo run --release -- demo

# Real clusters under load, each kind of kill ten times, with the times it took.
kills KILLS="10":
    QUIPU_KILLS={{KILLS}} cargo test -p quipu --test blackbox -- --nocapture --test-threads 1 cluster::kills cluster::restarts

# Replay one seed of the simulation.
sim SEED:
    cargo run -p quipu-sim --bin sim -- --seeds 1 --tell --seed {{SEED}}

# Real processes under real faults (docs/chaos.md).
jepsen *ARGS:
    jepsen/run {{ARGS}}

# The long run: an hour of faults on five nodes, 100,000 simulated seeds.
night:
    jepsen/night

# Crash histories of the storage engine: 10,000 unless told otherwise.
crash HISTORIES="10000":
    QUIPU_HISTORIES={{HISTORIES}} cargo test -p quipu-storage --test crash_histories -- --nocapture

# Fuzz one decoder (fuzz/README.md). Needs cargo-fuzz; a stable compiler will do.
fuzz TARGET SECONDS="60":
    mkdir -p fuzz/corpus/{{TARGET}}
    cargo fuzz run --sanitizer none {{TARGET}} fuzz/corpus/{{TARGET}} fuzz/seeds/{{TARGET}} -- -max_total_time={{SECONDS}} -max_len=65536 -timeout=10 -rss_limit_mb=512

# Fuzz every decoder, one after the other.
fuzz-all SECONDS="60":
    for target in fuzz/fuzz_targets/*.rs; do just fuzz "$(basename "$target" .rs)" {{SECONDS}} || exit 1; done

# Quipu beside its peers, as ratios (README's table). Wants a quiet machine.
bench-peers *ARGS:
    cargo bench -p quipu --bench peers -- {{ARGS}}

# What three replicas cost: throughput as ratios, an idle cluster, creating partitions. Wants a quiet machine.
bench-cluster *ARGS:
    cargo bench -p quipu --bench cluster -- {{ARGS}}

# Memory, descriptors and restart times against their limits. Wants a quiet machine and 12 GiB of disk.
bench-limits *ARGS:
    cargo bench -p quipu --bench limits -- {{ARGS}}

# Consumer groups: a thousand at rest, and a coordinator's failover after a hundred million commits. Wants a quiet machine.
bench-groups *ARGS:
    cargo bench -p quipu --bench groups -- {{ARGS}}

# Compaction of ten million updates, and what producers lose to it. Wants a quiet machine.
bench-compaction *ARGS:
    cargo bench -p quipu --bench compaction -- {{ARGS}}

# Needs cargo-mutants; docs/reports/mutants.md.
# Mutants of a pure crate (record, replication, metadata, coordinator, checker), or a SHARD of them (3/8), and its fast tests.
mutants CRATE SHARD="0/1" *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p target/mutants.copy
    export TMPDIR="$PWD/target/mutants.copy" CARGO_TARGET_DIR="$PWD/target"
    export PROPTEST_CASES=32 PROPTEST_MAX_SHRINK_ITERS=0 QUIPU_HISTORIES=40
    # What is built once for each mutant is not worth optimising.
    fast=()
    for crate in record storage {{CRATE}}; do fast+=("--cargo-arg=--config=profile.mutants.package.quipu-$crate.opt-level=0"); done
    # What measures, or wants an optimised build. Planted faults are the checker's very tests; elsewhere they prove tests.
    slow=(--skip five_hundred --skip hundred_thousand --skip ten_thousand --skip thirty_thousand --skip whoever_may_lead)
    [[ {{CRATE}} == checker ]] || slow+=(--skip is_caught --skip are_caught)
    nice -n 19 cargo mutants --package "quipu-{{CRATE}}" --shard "{{SHARD}}" --sharding round-robin --jobs 1 \
        --output "target/mutants.{{CRATE}}" "${fast[@]}" {{ARGS}} -- --lib --tests -- "${slow[@]}"
