#!/usr/bin/env bash
# Fine-tune a reader that answers questions: run_downstream_reading.sh [FLAGS]
# Without anything it learns a shipped sample, from a small model that it pre-trains first, and
# scores its answers. Set
#   TASK_NAME (cmrc; squad_v1, squad_v2) and DATA_DIR for data of your own,
#   BERT_CONFIG_FILE, VOCAB_FILE and INIT_CHECKPOINT for a model, OUTPUT_ROOT (./output),
#   DEVICE_ID for the card (0), TRAIN_PYTHON for the interpreter.
# Flags are those of `python -m bert.downstream.reading --help`; they win over what is set here.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/lib/downstream.sh"
task=${TASK_NAME:-cmrc}
for word in "$@"; do case $word in --task_name=*) task=${word#*=} ;; esac done
choose_device "$@"
choose_start "$@"
if [ -z "${DATA_DIR:-}" ] && ! names_flag data_dir "$@" && ! names_flag train_file "$@"; then
  settings=(--max_seq_length=48 --train_batch_size=16 --learning_rate=3e-4 --num_train_epochs=8)
else # what the field's trainer uses
  settings=(--max_seq_length=384 --train_batch_size=32 --learning_rate=1e-5 --num_train_epochs=2)
fi
exec "$python" -m bert.downstream.reading --backend="$backend" "${start[@]}" --task_name="$task" \
  --data_dir="${DATA_DIR:-$root/bert/downstream/samples}" \
  --output_dir="${OUTPUT_ROOT:-./output}/${task}_output" "${settings[@]}" --do_predict=true "$@"
