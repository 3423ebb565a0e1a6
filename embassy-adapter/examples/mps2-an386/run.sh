#!/usr/bin/env bash
# Builds the firmwares and lets them talk to servers and clients on this host: run.sh [TRIAL...]. Without names all trials are run.
# Needs Linux; installs the emulator where it can, and says what it skips.
set -euo pipefail
cd "$(dirname "$0")"
target=thumbv7em-none-eabihf
[ "$(uname)" = Linux ] || { echo "SKIPPED: the network of the emulated board needs Linux"; exit 0; }

emulator() {
  command -v qemu-system-arm && return
  command -v apt-get || return 1
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-system-arm; } || return 1
}

# The one for two networks apart from the others, which are not to pay for it.
for what in "--bin client --bin server" "--bin bond --features bond"; do
  status=0
  ../../../.ci/bare-metal.sh $target build --quiet --release --locked $what --target-dir target || status=$?
  [ $status -ne 75 ] || exit 0
  [ $status -eq 0 ] || exit $status
done
emulator >/dev/null 2>&1 || { echo "SKIPPED: there is no qemu-system-arm, and no apt-get to install it"; exit 0; }
firmware=$PWD/target/$target/release

# From there: here cargo builds for the board.
cd ../../../tests/board
host=${CARGO_TARGET_DIR:-../../target}
cargo build --quiet --locked --target-dir "$host" -p peregrine-board-tests -p peregrine-std \
  --bin peregrine-board-tests --bin peregrine
cargo test --quiet --locked --target-dir "$host" -p peregrine-board-tests
"$host/debug/peregrine-board-tests" "$firmware" "$host/debug/peregrine" "$@"
