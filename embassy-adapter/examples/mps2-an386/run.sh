#!/usr/bin/env bash
# Builds the firmwares and lets them talk to servers and clients on this host: run.sh [TRIAL...]. Without names all trials are run.
# Needs Linux; installs the emulator where it can, and says what it skips.
set -euo pipefail
cd "$(dirname "$0")"
target=thumbv7em-none-eabihf
root=../../..
[ "$(uname)" = Linux ] || { echo "SKIPPED: the network of the emulated board needs Linux"; exit 0; }

emulator() {
  command -v qemu-system-arm && return
  command -v apt-get || return 1
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-system-arm; } || return 1
}

status=0
$root/.ci/bare-metal.sh $target build --quiet --release --locked --bins || status=$?
[ $status -ne 75 ] || exit 0
[ $status -eq 0 ] || exit $status
emulator >/dev/null 2>&1 || { echo "SKIPPED: there is no qemu-system-arm, and no apt-get to install it"; exit 0; }

# From there, because here cargo builds for the board.
cd $root
host=${CARGO_TARGET_DIR:-target}
cargo build --quiet --locked -p peregrine-std --bin peregrine
CARGO_TARGET_DIR=$host cargo build --quiet --locked --manifest-path tests/board/Cargo.toml
"$host/debug/peregrine-board-tests" "$OLDPWD/target/$target/release" "$host/debug/peregrine" "$@"
