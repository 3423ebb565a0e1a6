#!/bin/sh
# The QUIC interop runner's cases of migration, without its containers: rebind-port, rebind-addr, connectionmigration.
# Peregrine with itself, with quinn, and with aioquic, whose virtual environment the tests with aioquic make.
# Exit code 0: all passed, or skipped for a reason that is printed; 1: something failed.
#
#   tests/interop/run.sh [PATTERN]        runs the cases whose name contains the pattern
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

# Makes the environment, and runs none of its cases.
"$here/../aioquic/run.sh" "no case" | grep SKIPPED && exit 0
exec "$target/aioquic/bin/python" "$here/run.py" "$target/debug/peregrine" "$target/debug/examples/hq" "$@"
