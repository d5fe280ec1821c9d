"""Two processes as the pods of a Volcano job, and a stand-in for hccl-controller."""

from __future__ import annotations

import time

from tests.launchers.sessions import BENCH, check_equal_in_form, finish, read_only_result, start
from tests.unit.hosts.test_kubernetes import Controller, make_text


def test_pods_wait_for_the_rank_table_and_train(local_result, tmp_path):
    mounted = tmp_path / "config"
    mounted.mkdir()
    controller = Controller(mounted)
    output = tmp_path / "results"
    argv = [*BENCH, "--launcher", "kubernetes", "--set", "hosts.count=2", "--cards", "2"]
    pods = [
        start(
            [*argv, "--output", str(output)],
            {
                "VC_TASK_INDEX": str(index),
                "JOB_ID": "bert",
                "XDL_IP": f"192.0.2.{index + 1}",
                "RANK_TABLE_FILE": str(controller.table),
            },
        )
        for index in range(2)
    ]
    time.sleep(5)
    # The head waits; nothing was started yet.
    assert [pod.poll() for pod in pods] == [None, None]
    assert not list(output.glob("runs/*"))
    controller.put(make_text(2))
    for pod in pods:
        code, _, err = finish(pod)
        assert code == 0, err
    check_equal_in_form(read_only_result(output), local_result)
