# shellcheck shell=bash disable=SC2034,SC2154
# What scripts/run_downstream_*.sh share: device, interpreter, a model to start from. They set $root.

names_flag() { # NAME FLAGS... -> true when one of the flags is --NAME=… or --NAME …, or so with dashes
  local words=" ${*:2} "
  [[ $words == *" --$1"[=\ ]* || $words == *" --${1//_/-}"[=\ ]* ]]
}

choose_device() { # FLAGS... -> sets $backend and $python, and the variables of one rank
  local word node
  backend=
  for word in "$@"; do case $word in --backend=*) backend=${word#*=} ;; esac done
  if [ -z "$backend" ]; then
    backend=cpu
    for node in /dev/davinci[0-9]*; do if [ -e "$node" ]; then backend=ascend; fi; done
    echo "run_downstream: --backend=$backend, for /dev has $([ $backend = cpu ] && echo no || echo a) davinciN" >&2
  fi
  if [ "$backend" = ascend ]; then . "$root/scripts/npu_set_env.sh" "${ASCEND_INSTALL_ROOT:-}"; fi
  python=${TRAIN_PYTHON:-python3.7}
  if [ -z "${TRAIN_PYTHON:-}" ] && [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
  export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
  export RANK_SIZE=1 RANK_ID=0 RANK_INDEX=0 DEVICE_ID=${DEVICE_ID:-0} JOB_ID=${JOB_ID:-bert-downstream}
}

choose_start() { # FLAGS... -> sets $start: flags of model, vocabulary and checkpoint, made if need be
  local toy=$root/bert/samples/pretrain-toy made=${OUTPUT_ROOT:-./output}/pretrained_sample
  start=("--bert_config_file=${BERT_CONFIG_FILE:-$toy/bert_config.json}")
  start+=("--vocab_file=${VOCAB_FILE:-$toy/vocab.txt}")
  if [ -n "${INIT_CHECKPOINT:-}" ]; then start+=("--init_checkpoint=$INIT_CHECKPOINT") && return; fi
  if names_flag init_checkpoint "$@" || [[ " $* " == *" --do_train=false "* ]]; then return; fi
  if [ ! -e "$made/model.ckpt-800.index" ]; then
    echo "run_downstream: no INIT_CHECKPOINT; pre-training a small model on the sample text first" >&2
    "$python" -m bert.pretrain --backend="$backend" "${start[0]}" --output_dir="$made" \
      --input_files_dir="$toy/wikipedia_128" --train_batch_size=8 --learning_rate=1e-3 \
      --num_train_steps=800 --num_warmup_steps=50 --iterations_per_loop=100 --save_checkpoints_steps=800
  fi
  start+=("--init_checkpoint=$made")
}
