#!/usr/bin/env bash
# Installs what is missing (Debian 12), builds everything, and runs the tests.
#   ./test.sh [PRESET] [ctest options]      PRESET: release (default), debug, sanitize, ci, ci-sanitize
set -euo pipefail
cd "$(dirname "$0")"
source ./.ci/packages.sh
install_missing_packages

preset=release
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
  preset=$1
  shift
fi
cmake --preset "$preset" >/dev/null
cmake --build "build/$preset"
exec ctest --test-dir "build/$preset" --output-on-failure -j "$(nproc)" "$@"
