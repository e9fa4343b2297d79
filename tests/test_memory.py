from pathlib import Path

import pytest

from data.memory import fits_in_memory, free_memory

MACHINE = "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n"


@pytest.fixture
def system(tmp_path):
    """A function that writes files below a root of their own."""

    def write(**files: str) -> Path:
        for name, text in {"proc/meminfo": MACHINE, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def group(folder: str, names: tuple[str, str, str], limit: str, used: int, cache: int) -> dict:
    return {
        f"{folder}/{names[0]}": f"{limit}\n",
        f"{folder}/{names[1]}": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\n{names[2]} {cache}\n",
    }


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_without_a_container_the_memory_of_the_machine_is_free(system):
    assert free_memory(system()) == 8000 * 1024


@pytest.mark.parametrize(
    ("names", "line", "folder"),
    [
        (V2, "0::/user/job", "sys/fs/cgroup/user/job"),
        (V1, "4:memory:/user/job", "sys/fs/cgroup/memory/user/job"),
        # Inside a container the path is often that of the host, and the files are in the root.
        (V2, "0::/host/only", "sys/fs/cgroup"),
        (V1, "4:memory:/host/only", "sys/fs/cgroup/memory"),
        # The limit may be that of a group above this process's own.
        (V2, "0::/user/job", "sys/fs/cgroup/user"),
        (V1, "4:memory:/user/job", "sys/fs/cgroup/memory/user"),
    ],
)
def test_the_limit_of_a_container_applies(system, names, line, folder):
    files = group(folder, names, "1000000", 600_000, 100_000)
    root = system(**{"proc/self/cgroup": f"1:cpu:/x\n{line}\n"}, **files)
    assert free_memory(root) == 1_000_000 - 600_000 + 100_000


def test_a_container_without_a_limit_is_ignored(system):
    files = group("sys/fs/cgroup", V2, "max", 600_000, 0)
    assert free_memory(system(**files)) == 8000 * 1024


def test_a_container_above_its_limit_has_no_free_memory(system):
    files = group("sys/fs/cgroup", V2, "1000", 2000, 0)
    assert free_memory(system(**files)) == 0


def test_an_array_may_take_half_of_the_free_memory(monkeypatch):
    monkeypatch.setattr("data.memory.free_memory", lambda: 1000)
    assert fits_in_memory(500)
    assert not fits_in_memory(501)
    monkeypatch.setattr("data.memory.free_memory", lambda: None)
    assert fits_in_memory(1 << 60)


def test_this_machine_reports_its_free_memory_or_nothing():
    free = free_memory()
    assert free is None or 0 <= free < 1 << 60
