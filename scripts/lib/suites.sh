# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by scripts/test: the suites, and how one or all of them run.
# Needs: suite (the one asked for, or all), arguments (for pytest), record (an empty folder).
run() { # NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  if [ "$suite" = all ]; then "$@" >"$record/$name.log" 2>&1; else "$@"; fi || : >"$record/$name.failed"
  (
    flock 9
    if [ "$suite" = all ]; then cat "$record/$name.log"; fi
    echo "== $name took $((SECONDS - start)) s"
  ) 9>"$record/lock"
}

pytest_in() { # NAME PYTHON FOLDER
  run "$1" "$2" -m pytest "$3" --timeout 300 --durations 5 ${arguments[@]+"${arguments[@]}"}
}

unit_py37() { pytest_in unit-py37 .venv/bin/python tests/unit; }
unit_current() { pytest_in unit-current .venv-dev/bin/python tests/unit; }
runs_py37() { pytest_in runs-py37 .venv/bin/python tests/runs; }
runs_current() { pytest_in runs-current .venv-dev/bin/python tests/runs; }
unit() { unit_py37; unit_current; }
runs() { runs_py37; runs_current; }
tf() { pytest_in tf .venv/bin/python tests/tf; }
faults() { pytest_in faults .venv/bin/python tests/faults; }
launchers() { pytest_in launchers .venv/bin/python tests/launchers; }
prometheus() { pytest_in prometheus .venv-dev/bin/python tests/prometheus; }
browser() { pytest_in browser .venv-dev/bin/python tests/browser; }
docker() { run docker scripts/test-docker; }

lane() { for one in "$@"; do "$one"; done; }

# Two lanes side by side, about equally long; what a suite prints comes in one piece when it ends.
all() {
  lane tf unit_current runs_current &
  lane unit_py37 runs_py37 faults launchers prometheus browser docker
  wait
}
