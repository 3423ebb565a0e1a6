#!/usr/bin/env bash
# Runs cargo for a bare-metal target on a fresh machine: bare-metal.sh TARGET COMMAND ARGUMENTS...
#
# With an ordinary rustup the target is added by `rustup target add`. Where rustup cannot fetch it but Debian's packages
# can be had, the standard library's `core` is built from Debian's Rust sources. Else it says so and ends with 75.
set -euo pipefail
target=$1; shift

debian_rust() {
  if ! [ -x /usr/bin/rustc ] || ! [ -d /usr/lib/rustlib/src/rust/library ] || ! command -v ld.lld; then
    command -v apt-get || return 1
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends rustc-web cargo-web rust-web-src lld; } || return 1
  fi
}

if rustup target list --installed 2>/dev/null | grep -qx "$target" || rustup target add "$target" 2>/dev/null; then
  exec cargo "$@" --target "$target"
elif debian_rust >/dev/null 2>&1; then
  # Debian ships the sources of its own compiler, so that compiler builds `core` from its vendored dependencies.
  library=$(readlink -f /usr/lib/rustlib/src/rust/library)
  name=$(tr 'a-z-' 'A-Z_' <<<"$target")
  # In this form flags are added to those of the configuration, and a linker stands behind none of its own.
  export "CARGO_TARGET_${name}_RUSTFLAGS=--remap-path-prefix=$library=/rustc" "CARGO_TARGET_${name}_LINKER=ld.lld"
  PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 exec /usr/bin/cargo "$@" --target "$target" \
    -Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem
else
  echo "SKIPPED: $target: neither rustup nor Debian's packages provide it here"
  exit 75
fi
