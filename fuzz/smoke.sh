#!/bin/sh
# Runs every fuzz target for a while: fuzz/smoke.sh [seconds per target, 60 if not given]
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}

skip() {
    echo "fuzz: SKIPPED, nothing was fuzzed: $1" >&2
    exit 0
}

command -v rustup >/dev/null || skip "no rustup, so no nightly compiler; cargo-fuzz needs its sanitizers"
rustup run nightly rustc --version >/dev/null 2>&1 ||
    skip "no nightly compiler; 'rustup toolchain install nightly' gets one"
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked ||
    skip "cargo-fuzz is missing and could not be installed"

targets=$(cargo +nightly fuzz list)
for target in $targets; do
    echo "fuzz: $target for $seconds s"
    # Inputs are long from the beginning: one that shakes hands and opens paths has hundreds of bytes, and libFuzzer would take hours to
    # come to those by itself.
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -max_len=4096 -len_control=0 -print_final_stats=1
done
