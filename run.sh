#!/usr/bin/env bash
# Installs what is missing (Debian 12), builds Orrery, and predicts a published training run.
#   ./run.sh                        the shipped example: GPT 145B on 1,536 A100 (SC21 Table 1)
#   ./run.sh predict FILE ...       any orrery command
set -euo pipefail
cd "$(dirname "$0")"
source ./.ci/packages.sh
install_missing_packages

if [ ! -f build/release/build.ninja ]; then
  echo "building orrery (a few minutes the first time)" >&2
  cmake --preset release >&2
fi
cmake --build build/release --target orrery >build/release/build.log 2>&1 || { cat build/release/build.log >&2; exit 1; }

if [ $# -gt 0 ]; then
  exec build/release/orrery "$@"
fi
mkdir -p results
example=gpt-145b-1536-a100
build/release/orrery predict "examples/$example.json" --tier measured --trace "results/$example.trace.json"
build/release/orrery predict "examples/$example.json" --tier measured --format json --quiet >"results/$example.json"
echo
echo "result   results/$example.json"
echo "trace    results/$example.trace.json   (open in https://ui.perfetto.dev)"
