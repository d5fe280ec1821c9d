#!/usr/bin/env bash
# Pre-train BERT-base on one Ascend card: run_pretraining.sh --input_files_dir=DIR [FLAGS]
# Further flags are those of `python -m bert.pretrain --help`; a later one wins over those here, and
# --backend=cpu trains without a card. DEVICE_ID is the card (0), TRAIN_PYTHON the interpreter.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
case " $* " in
  *" --backend=cpu "*) ;;
  *) . "$root/scripts/npu_set_env.sh" "${ASCEND_INSTALL_ROOT:-}" ;;
esac
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export RANK_SIZE=1 RANK_ID=0 RANK_INDEX=0 DEVICE_ID=${DEVICE_ID:-0} JOB_ID=${JOB_ID:-bert-base-1p}
exec "${TRAIN_PYTHON:-python3.7}" -m bert.pretrain \
  --backend=ascend \
  --bert_config_file="$root/bert/configs/bert_base_config.json" \
  --output_dir=./output \
  --optimizer_type=adam \
  --max_seq_length=128 \
  --max_predictions_per_seq=20 \
  --train_batch_size=128 \
  --learning_rate=1e-4 \
  --num_warmup_steps=10000 \
  --num_train_steps=500000 \
  --iterations_per_loop=100 \
  --save_checkpoints_steps=10000 \
  --npu_bert_loss_scale=0 \
  "$@"
