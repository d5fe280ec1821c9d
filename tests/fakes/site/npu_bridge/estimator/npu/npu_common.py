"""The job: read once per process, from a file or the environment."""

import json
import os

import tensorflow.compat.v1 as tf

from npu_bridge.estimator.npu import util


class DeviceInfo:
    """This process among the others."""

    def __init__(self, index="0", server_id="123456", dev_index=1):
        self._index = index
        self._server_id = server_id
        self._dev_index = dev_index
        self._root_rank = 0

    def is_master_node(self):
        """Compares a text with a number, and so is always False, like the original."""
        return self._index == self._root_rank


class JobInfo:
    """The job as a whole."""

    def __init__(
        self,
        job_id=0,
        heartbeat_time=-1,
        device_info=None,
        rank_table_file=None,
        local_checkpoint_dir=None,
        rank_size=1,
    ):
        self._job_id = job_id
        self._heartbeat_time = heartbeat_time
        self._device_info = device_info
        self._rank_table_file = rank_table_file
        self._local_checkpoint_dir = local_checkpoint_dir
        self._rank_size = rank_size


class NPUBasics:
    """The one job of the process: whoever asks first decides."""

    _instance = None

    def __new__(cls, file_name):
        if cls._instance is None:
            instance = super().__new__(cls)
            instance.jobinfo = _read_job_info(file_name)
            cls._instance = instance
        return cls._instance

    def size(self):
        """Number of ranks."""
        return self.jobinfo._rank_size


def _read_job_info(file_name):
    try:
        with open(file_name, encoding="utf-8") as stream:
            job = json.load(stream)
    except OSError:
        tf.logging.warning("there is no job file; the environment describes the job")
        return _read_environment()
    device_info = job.get("device_info")
    util.check_not_none(device_info, "device_info")
    util.check_nonnegative_integer(device_info.get("Index"), "Index")
    util.check_not_none(job.get("rank_table_file"), "rank_table_file")
    util.check_positive_integer(job.get("rank_size"), "rank_size")
    return JobInfo(
        device_info=DeviceInfo(index=str(device_info["Index"])),
        rank_table_file=job["rank_table_file"],
        local_checkpoint_dir=job.get("local_checkpoint_dir"),
        rank_size=job["rank_size"],
    )


def _read_environment():
    if not os.getenv("JOB_ID"):
        tf.logging.error("no job: JOB_ID is not set")
        return None
    rank_size = os.getenv("RANK_SIZE", 1)
    if not rank_size.isdigit():  # an int without RANK_SIZE: fails, like the original
        rank_size = 1
    return JobInfo(
        job_id=os.environ["JOB_ID"],
        heartbeat_time=os.getenv("HEARTBEAT", ""),
        device_info=DeviceInfo(index=os.getenv("POD_NAME") or os.getenv("RANK_ID", "")),
        rank_table_file=os.getenv("RANK_TABLE_FILE", ""),
        local_checkpoint_dir=os.getenv("LOCAL_CHECKPOINT_DIR", ""),
        rank_size=int(rank_size),
    )
