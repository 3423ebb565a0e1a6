#!/usr/bin/env bash
# Builds core and crypto for bare-metal targets: no std, no heap. Arguments: targets (default: a Cortex-M4F and a RISC-V).
#
# With an ordinary rustup the targets are added by `rustup target add`. Where rustup cannot fetch them but Debian's
# packages can be had, the standard library's `core` is built from Debian's Rust sources once, into target/embedded.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(thumbv7em-none-eabihf riscv32imc-unknown-none-elf)

build() { # build TARGET CARGO...
  local target=$1; shift
  "$@" build --release --target "$target" -p peregrine-core -p peregrine-crypto --no-default-features
}

debian_rust() {
  if ! [ -x /usr/bin/rustc ] || ! [ -d /usr/lib/rustlib/src/rust/library ]; then
    command -v apt-get >/dev/null || return 1
    apt-get update -qq && apt-get install -y -qq --no-install-recommends rustc-web cargo-web rust-web-src || return 1
  fi
}

skipped=0
for target in "${targets[@]}"; do
  if rustup target list --installed 2>/dev/null | grep -qx "$target" || rustup target add "$target" 2>/dev/null; then
    build "$target" cargo
  elif debian_rust >target-embedded.log 2>&1; then
    # Debian ships the sources of its own compiler, so that compiler builds `core` from its vendored dependencies.
    library=$(readlink -f /usr/lib/rustlib/src/rust/library)
    export CARGO_TARGET_DIR=target/embedded
    PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="--remap-path-prefix=$library=/rustc" \
      build "$target" /usr/bin/cargo -Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
    unset CARGO_TARGET_DIR
  else
    echo "SKIPPED: $target: neither rustup nor Debian's packages provide it here"
    skipped=$((skipped + 1))
    continue
  fi
  echo "built core and crypto for $target"
done
rm -f target-embedded.log
[ "$skipped" -lt ${#targets[@]} ] || echo "SKIPPED: all bare-metal builds"
