#!/usr/bin/env bash
# Pre-train BERT-base on the cards of this server: run_8p.sh --input_files_dir=DIR [FLAGS]
# RANK_TABLE_FILE names the rank table. With several servers run it on each, RANK_SIZE being the
# number of all cards and RANK_INDEX this server's place in the table; a rank that fails ends all.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
export RANK_SIZE=${RANK_SIZE:-8}
cards=$((RANK_SIZE < 8 ? RANK_SIZE : 8))
declare -A device_of=()

stop() { # CODE -> ends all ranks that still run
  trap - INT TERM
  kill "${!device_of[@]}" 2>/dev/null || true
  wait || true
  exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM

for ((device = 0; device < cards; device++)); do
  "$here/train_8p.sh" "$device" "$@" &
  device_of[$!]=$device
done
while [ ${#device_of[@]} -gt 0 ]; do
  sleep 1
  for pid in "${!device_of[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then continue; fi
    code=0
    wait "$pid" || code=$?
    device=${device_of[$pid]}
    unset "device_of[$pid]"
    if [ $code -eq 0 ]; then echo "card $device: training succeeded" && continue; fi
    echo "card $device: training failed, exit code $code; see ${RESULT_DIR:-result/8p}/train_$device.log" >&2
    stop $code
  done
done
