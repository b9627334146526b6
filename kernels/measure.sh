#!/usr/bin/env bash
# Measures this machine's GPU with every program of kernels/, in at most 15 minutes, and writes one folder that
# `orrery calibrate` takes.
#   kernels/measure.sh --gpu NAME [--out DIR] [--shapes FILE.jsonl] [--minutes 15] [--quick] [--bin DIR]
# NAME      the GPU preset's name, as `orrery presets gpus` lists them (or the name that your own preset will have)
# --out     the folder (default: measurements/NAME-DATE in the checkout)
# --shapes  kernel lines whose products and attention are timed instead of the built-in grids:
#           orrery presets models MODEL --shapes >FILE.jsonl
# --minutes in all (default 15, with --quick 3)
# --quick   few shapes and repeats, to see that everything works
# --bin     folder of the built programs (default: builds them in build/kernels)
# The folder appears when all is done. Interrupted, it keeps the finished programs' results in DIR.partial; the same
# command goes on from there.
set -euo pipefail

# program, its file, its weight in the time
programs=(
  "gemm gemm 30" "grouped_gemm grouped_gemm 7" "attention attention 14" "memory_bound memory 10" "launch launch 1"
  "copy copy 2" "collectives collectives 8" "overlap overlap 7" "sustained sustained 21"
)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
gpu="" out="" shapes="" minutes="" quick=() bin=""

refuse() {
  echo "measure.sh: $1" >&2
  exit 2
}
fail() {
  echo "measure.sh: $1" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick); shift; continue ;;
    --help) sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --gpu | --out | --shapes | --minutes | --bin)
      [ $# -ge 2 ] || refuse "$1 has no value"
      declare "${1#--}=$2"
      shift 2 ;;
    *) refuse "found $1, expected one of --gpu --out --shapes --minutes --quick --bin --help" ;;
  esac
done
[ -n "$gpu" ] || refuse "--gpu is missing, expected the preset's name of this GPU"
[[ $gpu =~ ^[A-Za-z0-9._-]+$ ]] || refuse "--gpu: found \"$gpu\", expected letters, digits, dots, dashes"
minutes=${minutes:-$([ ${#quick[@]} -eq 0 ] && echo 15 || echo 3)}
[[ $minutes =~ ^([1-9]|[1-9][0-9]|[1-5][0-9][0-9]|600)$ ]] ||
  refuse "--minutes: found \"$minutes\", expected an integer in [1, 600]"
[ -z "$shapes" ] || [ -r "$shapes" ] || refuse "--shapes: cannot read $shapes"
out=${out:-$root/measurements/$gpu-$(date -u +%Y-%m-%d)}
[ ! -e "$out" ] || refuse "$out is there already; name another folder with --out"
partial=$out.partial

if [ -z "$bin" ]; then
  [ -e /dev/nvidiactl ] || [ -e /dev/dxg ] || fail "no CUDA device on this machine: nothing to measure"
  bin=$root/build/kernels/bin
  echo "building the programs in build/kernels" >&2
  mkdir -p "$root/build/kernels"
  { cmake -S "$root/kernels" -B "$root/build/kernels" -DCMAKE_BUILD_TYPE=Release &&
    cmake --build "$root/build/kernels" -j "$(nproc)"; } >"$root/build/kernels/build.log" 2>&1 ||
    fail "the programs do not build; see $root/build/kernels/build.log"
fi
[ -x "$bin/launch" ] || fail "$bin has no program named launch"
status=0
"$bin/launch" --check >/dev/null 2>&1 || status=$?
[ "$status" -ne 77 ] || fail "no CUDA device on this machine: nothing to measure"

mkdir -p "$partial"
"$bin/machine" --gpu "$gpu" --out "$partial/machine.json.new" || fail "the machine cannot be described"
if [ -e "$partial/machine.json" ] && ! cmp -s "$partial/machine.json" "$partial/machine.json.new"; then
  rm "$partial/machine.json.new"
  fail "$partial was begun on another machine or driver; remove it or name another folder with --out"
fi
mv "$partial/machine.json.new" "$partial/machine.json"
rm -f "$partial"/*.running

child=""
interrupted() {
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  rm -f "$partial"/*.running
  echo "measure.sh: interrupted; finished programs stay in $partial, the same command goes on from there" >&2
  exit 130
}
trap interrupted INT TERM

weights=0
for entry in "${programs[@]}"; do
  read -r program file weight <<<"$entry"
  [ ! -x "$bin/$program" ] || weights=$((weights + weight))
done
# A program starts and ends some seconds beside its budget.
seconds=$((minutes * 60 * 93 / 100))
failed=() missing=()
for entry in "${programs[@]}"; do
  read -r program file weight <<<"$entry"
  if [ ! -x "$bin/$program" ]; then
    echo "measure.sh: $program was not built (no cuDNN or NCCL?): $file.jsonl is left out" >&2
    missing+=("$program")
    continue
  fi
  [ ! -e "$partial/$file.jsonl" ] || continue
  budget=$((seconds * weight / weights))
  [ "$budget" -ge 1 ] || budget=1
  arguments=(--gpu "$gpu" --out "$partial/$file.jsonl.running" --budget "$budget" "${quick[@]}")
  if [ -n "$shapes" ]; then
    [ "$program" != gemm ] || arguments+=(--shapes "$shapes")
    if [ "$program" = grouped_gemm ] && grep -q '"grouped": *true' "$shapes"; then arguments+=(--shapes "$shapes"); fi
    if [ "$program" = attention ] && grep -q '"op": *"attention"' "$shapes"; then arguments+=(--shapes "$shapes"); fi
  fi
  status=0
  # In the background, because bash runs a trap only between commands and within wait.
  timeout -k 10 $((2 * budget + 120)) "$bin/$program" "${arguments[@]}" &
  child=$!
  wait "$child" || status=$?
  child=""
  if [ "$status" -eq 0 ] && [ -s "$partial/$file.jsonl.running" ]; then
    mv "$partial/$file.jsonl.running" "$partial/$file.jsonl"
  else
    [ "$status" -ne 0 ] || echo "measure.sh: $program wrote no line" >&2
    rm -f "$partial/$file.jsonl.running"
    failed+=("$program")
  fi
done
trap - INT TERM

[ ${#failed[@]} -eq 0 ] || fail "failed: ${failed[*]}. The others' results are in $partial; the same command goes on from there"
mv "$partial" "$out"
echo "wrote $out"
echo "next: orrery calibrate $out --gpu $gpu --out $gpu.json"
