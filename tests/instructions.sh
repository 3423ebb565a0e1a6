#!/bin/sh
# Counts instructions of core, outside all calls of the session: per 1,200-byte packet of a bulk transfer at 1 and at 1,000
# streams, and per datagram and timer of an endpoint at 1 and at 10,000 connections. Needs valgrind.
set -eu
cd "$(dirname "$0")/.."
command -v valgrind >/dev/null || { echo "instructions: SKIPPED, there is no valgrind"; exit 0; }
cargo build --quiet --profile bench -p peregrine-tests --bin instructions
program=${CARGO_TARGET_DIR:-target}/release/instructions
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT

# Instructions of the function $1 in the work that the rest tells, less those of the session, per packet or datagram.
per_packet() {
    name=$1
    shift
    count=$(valgrind --quiet --tool=callgrind --callgrind-out-file="$profile" \
        --toggle-collect="*measured_$name*" "$program" "$@")
    callgrind_annotate --inclusive=yes --threshold=100 --show-percs=no "$profile" |
        tr -d ',' |
        awk -v count="$count" '
            /PROGRAM TOTALS/ { total = $1 }
            /Outside as .*Session>::/ { session += $1 }
            END { printf "%10.0f", (total - session) / count }'
}

row() {
    name=$1
    shift
    printf '%-14s' "$name"
    for work in "$@"; do
        # shellcheck disable=SC2086
        per_packet "$name" $work
    done
    echo
}

printf '%-14s%10s%10s%10s\n' 'open streams' 1 1000 1000 'active' 1 1 1000
for name in send acknowledged receive acknowledge write read; do
    row "$name" 'transfer 1 1' 'transfer 1000 1' 'transfer 1000 1000'
done
printf '\n%-14s%10s%10s\n' 'connections' 1 10000
for name in datagram timer; do
    row "$name" 'endpoint 1' 'endpoint 10000'
done
