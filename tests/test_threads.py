"""Threads: how many there are, the limits of containers, children of a fork, callers at once, and busy neighbours."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import coolnn as cool
from coolnn import _core

ASK = "import coolnn; print(coolnn.get_num_threads())"


def drawn(*shape: int) -> cool.Tensor:
    return cool.tensor(np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32))


def convolve() -> bytes:
    """The bits of a convolution and of a matrix product that are large enough to be split."""
    y = cool.ops.conv2d(drawn(2, 16, 40, 40), drawn(32, 16, 3, 3), padding=1)
    return bytes(y.numpy().tobytes() + (drawn(300, 200) @ drawn(200, 300)).numpy().tobytes())


def ask(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ASK]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)


# --- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "3", "1024"])
def test_the_environment_sets_the_number(text):
    done = ask(COOLNN_THREADS=text)
    assert (done.stdout.strip(), done.stderr) == (text, "")


@pytest.mark.parametrize("text", ["-1", "abc", "1e9", "1025", "2 ", "99999999999999999999"])
def test_what_is_no_number_of_threads_is_said(text):
    done = ask(COOLNN_THREADS=text)
    assert f"COOLNN_THREADS={text!r}" in done.stderr
    assert "1 to 1024" in done.stderr
    assert done.stdout == ask(COOLNN_THREADS="").stdout


@pytest.mark.parametrize("text", ["", "0"])
def test_nothing_and_zero_mean_all_cores(text):
    done = ask(COOLNN_THREADS=text)
    limit = _core.container_cores() or 1024
    assert int(done.stdout) == min(len(os.sched_getaffinity(0)), limit, 1024)
    assert done.stderr == ""


def test_a_process_on_one_core_has_one_thread():
    core = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, {{{core}}}); {ASK}"
    environment = {key: value for key, value in os.environ.items() if key != "COOLNN_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("wrong", "error"), [(-1, ValueError), (1025, ValueError), (2**70, ValueError), (1.5, TypeError), ("2", TypeError)]
)
def test_wrong_numbers_are_refused(wrong, error):
    before = cool.get_num_threads()
    with pytest.raises(error, match=repr(wrong).strip("-")):
        cool.set_num_threads(wrong)
    assert cool.get_num_threads() == before


def test_numpy_numbers_are_numbers():
    with cool.options(threads=np.int64(2)):
        assert cool.get_num_threads() == 2


# --- containers ------------------------------------------------------------------------------------------------------

V2 = "0::/a/b\n"
V1 = "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n"
CONTAINERS = {
    "none": ({}, 0),
    "unlimited": ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "max 100000\n"}, 0),
    "own group at the mount": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
    "a part of a core": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "30000 100000\n"}, 1),
    "whole cores alone": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "375000 100000\n"}, 3),
    "the tightest of all around": (
        {
            "proc/self/cgroup": V2,
            "sys/fs/cgroup/cpu.max": "800000 100000",
            "sys/fs/cgroup/a/cpu.max": "200000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "500000 100000",
        },
        2,
    ),
    "version 1": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
        },
        4,
    ),
    "version 1, the host's path": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
        },
        3,
    ),
    "version 1, unlimited": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        0,
    ),
    "nonsense": ({"proc/self/cgroup": "::\n0:\nx\n0::/\n", "sys/fs/cgroup/cpu.max": "1e300 0\n"}, 0),
    "enormous": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1e300 1\n"}, 1024),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_limits_of_containers(name: str, tmp_path: Path) -> None:
    files, cores = CONTAINERS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert _core.container_cores(str(tmp_path)) == cores


# --- forks and callers at once ---------------------------------------------------------------------------------------


def threads_and_bits(_: int) -> tuple[int, bytes]:
    bits = convolve()
    return len(os.listdir("/proc/self/task")), bits


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_children_of_a_fork_work_with_threads_of_their_own():
    with cool.options(threads=3), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads: that is the point
        expected = convolve()
        with multiprocessing.get_context("fork").Pool(1) as pool:
            threads, bits = pool.apply_async(threads_and_bits, (0,)).get(timeout=60)
        assert bits == expected
        assert threads >= 3  # multiprocessing may have one of its own
        assert convolve() == expected


def test_a_fork_beside_running_threads():
    """The child can work although another thread was computing at the moment of the fork."""
    expected = convolve()
    stop = False

    def keep_busy() -> None:
        while not stop:
            convolve()

    with cool.options(threads=2), ThreadPoolExecutor(1) as executor, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        executor.submit(keep_busy)
        try:
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    os._exit(0 if convolve() == expected else 1)
                end = time.monotonic() + 60
                while (result := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
                    time.sleep(0.002)
                if result == (0, 0):
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                assert result[0] == child, "the child of a fork hangs"
                assert result[1] == 0, "the child of a fork computed other numbers"
        finally:
            stop = True


def test_calls_from_several_threads_at_once():
    net = cool.models.create("lenet5").eval()
    run = cool.compile(net)
    x = drawn(8, 1, 28, 28)
    with cool.options(threads=2):
        expected = convolve(), run(x).numpy().tobytes()
        with ThreadPoolExecutor(4) as executor:
            jobs = [executor.submit(lambda: (convolve(), run(x).numpy().tobytes())) for _ in range(40)]
            assert all(job.result() == expected for job in jobs)
