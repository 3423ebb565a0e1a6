#!/bin/sh
# Counts instructions of core, outside all calls of the session: per 1,200-byte packet of a bulk transfer with 1 and with
# 1,000 streams, and per datagram and timer of an endpoint with 1 and with 10,000 connections. Needs valgrind.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "instructions: SKIPPED, there is no valgrind"; exit 0; }
cargo build --quiet --profile bench -p peregrine-tests --example instructions
program=${CARGO_TARGET_DIR:-target}/release/examples/instructions
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT

# Prints instructions of a part of some work, per packet or round: per_packet WORK... PART
per_packet() {
    count=$(valgrind --quiet --tool=callgrind --callgrind-out-file="$profile" \
        --toggle-collect='*count_this*' --toggle-collect='*set_aside*' "$program" "$@")
    awk -v count="$count" '/^summary:/ { printf "%10.0f", $2 / count }' "$profile"
}

# Prints a line: row PART 'WORK...' 'WORK...' ...
row() {
    part=$1
    shift
    printf '%-14s' "$part"
    for work in "$@"; do
        # shellcheck disable=SC2086
        per_packet $work "$part"
    done
    echo
}

printf '%-14s%10s%10s%10s\n' 'open streams' 1 1000 1000 'active' 1 1 1000
for part in write send acknowledged receive acknowledge read; do
    row "$part" 'transfer 1 1' 'transfer 1000 1' 'transfer 1000 1000'
done
printf '\n%-14s%10s%10s\n' 'connections' 1 10000
for part in datagram timer; do
    row "$part" 'endpoint 1' 'endpoint 10000'
done
