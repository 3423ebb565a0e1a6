#!/bin/sh
# The peregrine command with aioquic, a QUIC and TLS in Python, on the other end.
# Makes a virtual environment in target/ and installs aioquic from PyPI. Exit code 0: all passed, or skipped for a
# reason that is printed; 1: something failed.
#
#   tests/aioquic/run.sh [PATTERN]        runs the cases whose name contains the pattern
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
venv=$target/aioquic
aioquic=aioquic==1.7.2

skip() {
    echo "SKIPPED: $1"
    exit 0
}

command -v python3 >/dev/null || skip "there is no python3"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || skip "python3 is older than 3.10"
if ! "$venv/bin/python" -c 'import aioquic; assert aioquic.__version__ == "1.7.2"' 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv" >/dev/null 2>&1 || skip "python3 has no venv module"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$aioquic" ||
        skip "$aioquic cannot be installed"
fi

cargo build --quiet --manifest-path "$root/Cargo.toml" -p peregrine-std --bin peregrine
cargo build --quiet --manifest-path "$root/Cargo.toml" -p peregrine-tests --example hq
exec "$venv/bin/python" "$here/run.py" "$target/debug/peregrine" "$target/debug/examples/hq" "$@"
