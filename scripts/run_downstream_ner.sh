#!/usr/bin/env bash
# Fine-tune a labeller of tokens: run_downstream_ner.sh [FLAGS]
# Without anything it learns a shipped sample, from a small model that it pre-trains first. Set
#   DATA_DIR for data of your own (train.txt, dev.txt, test.txt),
#   BERT_CONFIG_FILE, VOCAB_FILE and INIT_CHECKPOINT for a model, OUTPUT_ROOT (./output),
#   DEVICE_ID for the card (0), TRAIN_PYTHON for the interpreter.
# Flags are those of `python -m bert.downstream.ner --help`; they win over what is set here.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/lib/downstream.sh"
choose_device "$@"
choose_start "$@"
if [ -z "${DATA_DIR:-}" ] && ! names_flag data_dir "$@" && ! names_flag train_file "$@"; then
  settings=(--max_seq_length=48 --train_batch_size=16 --learning_rate=3e-4 --num_train_epochs=6)
else # what the field's trainer uses
  settings=(--max_seq_length=256 --train_batch_size=32 --learning_rate=1e-5 --num_train_epochs=5)
fi
exec "$python" -m bert.downstream.ner --backend="$backend" "${start[@]}" --task_name=ner \
  --data_dir="${DATA_DIR:-$root/bert/downstream/samples}" \
  --output_dir="${OUTPUT_ROOT:-./output}/ner_output" "${settings[@]}" --do_predict=true "$@"
