# shellcheck shell=bash disable=SC2034,SC2154
# Make the environment: sourced by scripts/prepare, which sets $root, $venv, $lock, $python and $chosen.
# Stamps are written last, so what an interrupt leaves is made anew; finished downloads come from pip's
# cache.

wait_for_turn() { # One at a time. The lock is the kernel's: it ends with the processes that hold it.
  [ -w "$root" ] || fail "cannot write to $root: the environment is made there"
  exec 9>"$root/.venv.lock"
  "$python" -I -c 'import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.stderr.write("prepare: waiting for another prepare in this directory\n")
    fcntl.flock(9, fcntl.LOCK_EX)'
}

pip_install() { # No environment variable or user site leaks in, but pip's own settings (mirrors) hold.
  "$venv/bin/python" -I -m pip --no-input --disable-pip-version-check install "$@" \
    >>"$venv/prepare.log" 2>&1 && return
  fail "cannot install into $venv: $(grep -E '^ *(ERROR|error):' "$venv/prepare.log" | tail -n 1)" \
    "(whole log: $venv/prepare.log; run the same command to try again)"
}

install_pins() {
  say "making $venv with $python, once; the downloads can take some minutes"
  rm -rf "$venv"
  "$python" -I -m venv "$venv" || fail "$python cannot make an environment in $venv"
  pip_install --require-hashes -r "$root/scripts/lock/bootstrap.txt"
  pip_install --require-hashes --no-build-isolation -r "$root/scripts/lock/$lock"
  echo "${chosen:-$python}" >"$venv/.python"
  pins >"$venv/.pins"
}

install_project() {
  rm -f "$venv/.project"
  pip_install --no-index --no-deps --no-build-isolation -C editable_mode=compat -e "$root"
  metadata >"$venv/.project"
}
