#!/usr/bin/env bash
# One rank of run_8p.sh, on one card of this server: train_8p.sh DEVICE_ID --input_files_dir=DIR [FLAGS]
# The log is RESULT_DIR/train_DEVICE_ID.log (result/8p); an older one is kept under another name.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
if ! [[ ${1:-} =~ ^[0-7]$ ]]; then
  echo "train_8p.sh: the first argument must be a card, 0 to 7 (found '${1:-}')" >&2
  exit 64
fi
device=$1
shift
if [ -z "${RANK_TABLE_FILE:-}" ]; then
  echo "train_8p.sh: set RANK_TABLE_FILE to the rank table of this cluster;" \
    "bert/configs/rank_tables/8p.json shows the form, its addresses are examples" >&2
  exit 64
fi
export RANK_SIZE=${RANK_SIZE:-8} RANK_INDEX=${RANK_INDEX:-0} JOB_ID=${JOB_ID:-bert-base-8p}
export DEVICE_ID=$device RANK_ID=$((RANK_INDEX * 8 + device))
log=${RESULT_DIR:-result/8p}/train_$device.log
mkdir -p "$(dirname "$log")"
if [ -e "$log" ]; then mv --backup=numbered --no-target-directory "$log" "$log.old"; fi
exec >"$log" 2>&1
. "$root/scripts/npu_set_env.sh" "${ASCEND_INSTALL_ROOT:-}"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} DEVICE_INDEX=$RANK_ID
exec "${TRAIN_PYTHON:-python3.7}" -m bert.pretrain --backend=ascend --distributed=True \
  --bert_config_file="$root/bert/configs/bert_base_config.json" --output_dir=./output \
  --optimizer_type=adam --max_seq_length=128 --max_predictions_per_seq=20 --train_batch_size=128 \
  --learning_rate=1e-4 --num_warmup_steps=10000 --num_train_steps=500000 \
  --iterations_per_loop=100 --save_checkpoints_steps=10000 --npu_bert_loss_scale=0 "$@"
