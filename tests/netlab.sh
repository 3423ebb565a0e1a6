#!/bin/sh
# What a client loses that loses its network: medians of 11 runs over two links between network namespaces (Linux, root,
# iproute2). Any number of runs may be given, and a file for the picture of an unwarned loss. With `multipath` in front: what a
# client gains that uses several links, and loses with one of them, beside noq. With `outage`: when data come again after all links
# have been silent for a while, medians of 5.
set -eu
cd "$(dirname "$0")/.."
[ "$(uname)" = Linux ] || { echo "netlab: SKIPPED, there are no network namespaces here"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "netlab: SKIPPED, making network namespaces needs root"; exit 0; }
command -v ip >/dev/null || { echo "netlab: SKIPPED, there is no iproute2"; exit 0; }
cargo build --quiet --release -p peregrine-std --bin peregrine
cargo build --quiet --release -p peregrine-tests --example netlab
target=${CARGO_TARGET_DIR:-target}
netlab=$(realpath "$target/release/examples/netlab")
peregrine=$(realpath "$target/release/peregrine")
if [ "${1:-}" = multipath ]; then
    "$netlab" multipath "$peregrine" "${2:-11}"
elif [ "${1:-}" = outage ]; then
    "$netlab" outage "$peregrine" "${2:-5}"
else
    "$netlab" migration "$peregrine" "${1:-11}" "${2:-$target/netlab.svg}"
fi
