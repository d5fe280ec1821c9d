#!/bin/sh
# Installs the pins of a lock file for python3.7: install_pins.sh LOCK
set -eu
# The cache is a mount of the build; nothing of it stays in the image.
export PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
python3.7 -m pip install --require-hashes -r "$1"
