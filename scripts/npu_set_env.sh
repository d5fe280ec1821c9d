#!/usr/bin/env bash
# Set the variables of the Ascend software, for this shell: source scripts/npu_set_env.sh [ROOT]
# ROOT, or ASCEND_INSTALL_ROOT, is where it is installed; /usr/local/Ascend unless given.
# Run instead of sourced, it only shows what it finds.
set_npu_environment() {
  local root=${1:-${ASCEND_INSTALL_ROOT:-/usr/local/Ascend}} base='' plugin='' place
  for place in "$root/nnae/latest" "$root/ascend-toolkit/latest" "$root"; do
    if [ -d "$place/fwkacllib" ]; then base=$place && break; fi
  done
  if [ -z "$base" ]; then
    echo "npu_set_env: no fwkacllib under $root (looked for nnae/latest, ascend-toolkit/latest and" \
      "the flat layout); install CANN, or give its root as argument or in ASCEND_INSTALL_ROOT" >&2
    return 1
  fi
  for place in "$root/tfplugin/latest/tfplugin" "$base/tfplugin" "$root/tfplugin"; do
    if [ -d "$place/python/site-packages" ]; then plugin=$place/python/site-packages && break; fi
  done
  if [ -z "$plugin" ]; then
    echo "npu_set_env: $base has no TF adapter (tfplugin); install the tfplugin package" >&2
    return 1
  fi
  local libraries=$base/fwkacllib/lib64 python=$base/fwkacllib/python/site-packages
  for place in "$root"/driver/lib64{,/common,/driver} "$root/add-ons"; do
    if [ -d "$place" ]; then libraries=$libraries:$place; fi
  done
  export ASCEND_OPP_PATH=$base/opp ASCEND_AICPU_PATH=$base
  export TBE_IMPL_PATH=$base/opp/op_impl/built-in/ai_core/tbe
  export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export PATH=$base/fwkacllib/ccec_compiler/bin:$base/fwkacllib/bin:$PATH
  python=$plugin:$python:$python/auto_tune.egg:$python/schedule_search.egg:$TBE_IMPL_PATH
  export PYTHONPATH=$python${PYTHONPATH:+:$PYTHONPATH}
  echo "npu_set_env: CANN in $base, TF adapter in $plugin"
}
set_npu_environment "$@"
