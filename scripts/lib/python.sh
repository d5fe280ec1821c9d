# shellcheck shell=bash disable=SC2034,SC2154
# Find a Python that really runs: sourced by scripts/prepare.
# A name on PATH proves nothing (the shim of a version manager may fail), so every candidate is tried.

list_pythons() { # VERSION... -> one candidate path a line, best first
  local version base name
  for version in "$@"; do
    type -aP "python$version" || true
    for base in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".* "${CONDA_PREFIX:-/nowhere}" \
      "$HOME"/{miniconda3,miniforge3,anaconda3}/envs/* /opt/conda/envs/* /usr/local/python"$version"*; do
      echo "$base/bin/python$version"
    done
    while read -r base; do
      echo "$base/bin/python$version"
    done 2>/dev/null <"$HOME/.conda/environments.txt" || true
    UV_PYTHON_DOWNLOADS=never limit uv python find --no-project "$version" 2>/dev/null || true
  done
  for name in python3 python; do type -aP "$name" || true; done
}

limit() { # COMMAND... -> the same with a time limit, where the system has one to offer
  if type -P timeout >/dev/null; then timeout 10 "$@"; else "$@"; fi
}

probe_python() { # PATH VERSION... -> true when it runs, has one of the versions and can make environments
  limit "$1" -I -c 'import ctypes, ensurepip, sqlite3, ssl, sys, venv, zlib
sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])' "${@:2}" >/dev/null 2>&1 </dev/null
}

find_python() { # VERSION... -> sets $python and $tried; false when there is none
  local candidate
  tried=
  while read -r candidate; do
    [ -x "$candidate" ] || continue
    if probe_python "$candidate" "$@"; then python=$candidate && return; fi
    tried="$tried $candidate"
  done <<<"$(list_pythons "$@")"
  return 1
}
