#!/bin/sh
# Adds to an image with TensorFlow and npu_bridge the pinned packages that it lacks: add_missing.sh DIR,
# with pyproject.toml, the locks and list_missing.py in DIR. What it has and the project can use stays.
set -eu
directory=$1
installers=$(mktemp -d)
export PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
python3.7 -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "3.7")' || {
  echo "add_missing: the base image has no working python3.7 on its PATH" >&2
  exit 1
}
# The pip of such an image may be too old to read the tags of today's wheels.
python3.7 -m pip install --quiet --target "$installers" --require-hashes -r "$directory/bootstrap.txt"
export PYTHONPATH="$installers${PYTHONPATH:+:$PYTHONPATH}"
missing=$installers/missing.txt
python3.7 "$directory/list_missing.py" "$directory/pyproject.toml" \
  "$directory/image-ascend.txt" >"$missing"
if [ -s "$missing" ]; then
  python3.7 -m pip install --no-deps --require-hashes -r "$missing"
fi
python3.7 "$directory/list_missing.py" --check "$directory/pyproject.toml" \
  "$directory/image-ascend.txt"
rm -rf "$installers"
