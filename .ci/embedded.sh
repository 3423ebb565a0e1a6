#!/usr/bin/env bash
# Builds for bare metal what does without std and without a heap: core and crypto, the Embassy adapter with each way of logging, and
# the example of a real board. Arguments: targets for core and crypto (default: a Cortex-M4F, a Cortex-M33, a RISC-V).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(thumbv7em-none-eabihf thumbv8m.main-none-eabihf riscv32imc-unknown-none-elf)

built=0
build() { # build WHAT TARGET ARGUMENTS...
  local what=$1 target=$2 status=0; shift 2
  "$root/.ci/bare-metal.sh" "$target" build --release --locked --target-dir "$root/target/embedded" "$@" || status=$?
  case $status in
    0) echo "built $what for $target"; built=$((built + 1)) ;;
    75) ;;
    *) exit "$status" ;;
  esac
}

for target in "${targets[@]}"; do
  build "core and crypto" "$target" -p peregrine-core -p peregrine-crypto --no-default-features
done
for features in ipv4 ipv6,log ipv4,defmt ipv4,ipv6,defmt,log; do
  build "the Embassy adapter with $features" thumbv7em-none-eabihf -p peregrine-embassy --no-default-features \
    --features $features
done
# From there: cargo reads in that folder how the board is linked.
cd embassy-adapter/examples/stm32h563
build "a firmware for the NUCLEO-H563ZI" thumbv8m.main-none-eabihf
[ "$built" -gt 0 ] || echo "SKIPPED: all bare-metal builds"
