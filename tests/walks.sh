#!/bin/sh
# Random walks over many seeds, on one path and on several: `tests/walks.sh` takes 10,000, `tests/walks.sh 500` so many, `tests/walks.sh 4711..4712` those.
# A walk that fails tells its seed and its story.
set -eu
cd "$(dirname "$0")/.."
PEREGRINE_SEEDS="${1:-10000}" exec cargo test -p peregrine-tests --test scenarios walks:: -- --nocapture
