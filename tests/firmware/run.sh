#!/usr/bin/env bash
# Builds the firmwares and prints what they take: flash, RAM, stack, instructions. Fails where core or crypto can panic, where
# there is a heap, and where a figure has grown. Arguments: opt-levels (default: s). Needs Python; says what it skips.
set -euo pipefail
cd "$(dirname "$0")"
target=thumbv7em-none-eabihf
[ $# -gt 0 ] || set -- s
command -v python3 >/dev/null || { echo "SKIPPED: there is no python3"; exit 0; }

build() { # build LEVEL SUFFIX ARGUMENTS...: into target/LEVELSUFFIX
  local level=$1 suffix=$2; shift 2
  CARGO_PROFILE_RELEASE_OPT_LEVEL=$level ../../.ci/bare-metal.sh $target build --quiet --release --locked \
    --target-dir "target/$level$suffix" "$@"
}

# Each of these tables has tens of kilobytes; any crate of a program can turn one on for all.
for crate in "Cargo.toml -p peregrine-firmware" "../../Cargo.toml -p peregrine-embassy"; do
  # shellcheck disable=SC2086
  features=$(cargo tree --locked --manifest-path $crate -e features,no-dev --target $target --prefix none)
  if grep -F 'feature "precomputed-tables"' <<<"$features"; then
    echo "these tables are not to be linked into firmware"
    exit 1
  fi
done

emulator() {
  command -v qemu-system-arm && return
  command -v apt-get || return 1
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-system-arm; } || return 1
}

emulate() { # emulate PROGRAM: an instruction takes a nanosecond
  timeout 300 qemu-system-arm -M mps2-an386 -display none -monitor none -serial none -icount shift=0 \
    -semihosting-config enable=on,target=native -kernel "$1"
}

for level in "$@"; do
  images=target/$level/$target/release
  status=0
  build "$level" "" --bins || status=$?
  [ $status -ne 75 ] || exit 0
  [ $status -eq 0 ] || exit $status
  # The same programs with the places of panics in them are another image: these are measured, those are examined.
  mkdir -p "target/measured-$level"
  cp "$images"/{empty,null,psk,ed25519,p256,sizes} "target/measured-$level"
  build "$level" "" --bins --features places,server
  # The same with several paths: what does without must not pay for it, and here is what it costs.
  several=target/$level-multipath/$target/release
  build "$level" -multipath --bin null --bin sizes --features multipath
  mkdir -p "target/measured-$level/multipath"
  cp "$several"/{null,sizes} "target/measured-$level/multipath"
  build "$level" -multipath --bin null --bin exchange --features multipath,places,server

  echo "== panics and heap, opt-level $level"
  # Where less is inlined, a panic inside `core` no longer tells whose it is.
  [ "$level" != s ] || python3 panics.py "$images"/{null,psk,ed25519,p256} "$several/null" >"target/panics-$level" || {
    cat "target/panics-$level"
    exit 1
  }
  [ "$level" != s ] || grep -v '^ ' "target/panics-$level"

  echo "== budgets, opt-level $level"
  python3 ram.py --check "target/measured-$level/sizes"
  python3 ram.py --check "target/measured-$level/multipath/sizes"
  for wrong in "--streams -1" "--in-flight 0" "--routes 0" "--mtu 100" "--paths 9" "--paths 2"; do
    # shellcheck disable=SC2086
    if python3 ram.py $wrong "target/measured-$level/sizes" 2>/dev/null; then
      echo "ram.py prices $wrong in an image of one path"
      exit 1
    fi
  done
  said=()
  if emulator >/dev/null 2>&1; then
    emulate "$images/exchange" >"target/exchange-$level"
    emulate "$several/exchange" >"target/exchange-$level-multipath"
    said=(--exchange "target/exchange-$level" --multipath "target/exchange-$level-multipath")
    emulate "$images/soak"
  else
    echo "SKIPPED: stack and instructions: there is no qemu-system-arm, and no apt-get to install it"
  fi
  [ "$level" != s ] || said+=(--bounds)
  python3 budgets.py "target/measured-$level" "${said[@]}"
done
