"""What the machine says of itself: free memory under every kind of limit, and how fast it is."""

from __future__ import annotations

import pytest

from coolnn import _core, machine

GIB = 1 << 30


def write(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": f"MemTotal: {16 << 20} kB\nMemAvailable: {8 << 20} kB\nHugePages_Total: 0\n"}


def test_without_limits_memory_is_what_the_system_has_free(tmp_path):
    write(tmp_path, **MEMINFO)
    assert machine.available_memory(tmp_path) == (8 * GIB, "machine")


def test_nothing_is_known_of_a_system_that_does_not_tell(tmp_path):
    assert machine.available_memory(tmp_path) is None


@pytest.mark.parametrize("folder", ["sys/fs/cgroup", "sys/fs/cgroup/a/b", "sys/fs/cgroup/a"])
def test_limits_of_control_groups_version_2(tmp_path, folder):
    group = {
        f"{folder}/memory.max": str(2 * GIB),
        f"{folder}/memory.current": str(GIB),
        f"{folder}/memory.stat": f"anon 5\ninactive_file {GIB // 4}\n",
    }
    write(tmp_path, **MEMINFO, **{"proc/self/cgroup": "0::/a/b\n"}, **group)
    assert machine.available_memory(tmp_path) == (GIB + GIB // 4, "container")
    (tmp_path / folder / "memory.max").write_text("max\n")
    assert machine.available_memory(tmp_path) == (8 * GIB, "machine")


def test_limits_of_control_groups_version_1(tmp_path):
    group = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(3 * GIB),
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
    }
    write(tmp_path, **MEMINFO, **{"proc/self/cgroup": "7:cpu,cpuacct:/x\n4:memory:/of/the/host\n"}, **group)
    assert machine.available_memory(tmp_path) == (2 * GIB, "container")
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")  # version 1's "none"
    assert machine.available_memory(tmp_path) == (8 * GIB, "machine")


def test_a_full_container_has_nothing_left(tmp_path):
    group = {"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "2000"}
    write(tmp_path, **MEMINFO, **{"proc/self/cgroup": "0::/\n"}, **group)
    assert machine.available_memory(tmp_path) == (0, "container")


def test_rates_are_those_of_a_computer():
    rates = machine.rates()
    assert rates is machine.rates()  # kept
    # Wide bounds: others may be at work on this machine, and each figure was measured at another moment.
    assert 1e8 < rates.product < 10 * rates.peak and 1e8 < rates.winograd < 100 * rates.peak
    assert rates.bandwidth > 1e8 and 0 < rates.fork_join < 1
    assert 0 < machine.resident_memory() <= machine.peak_memory()


def test_the_peak_is_that_of_the_instruction_set():
    before = _core.isa()
    try:
        for name in _core.available_isas():
            _core.set_isa(name)
            assert _core.measure_fma_peak(0.001) > 1e8
    finally:
        _core.set_isa(before)
