"""How much memory is free."""

import contextlib
import os
from pathlib import Path


def fits_in_memory(needed: int) -> bool:
    """Tell whether an array takes at most half of the free memory.

    The other half is for training itself.

    Args:
        needed: size of the array, bytes.

    Returns:
        True also if the system does not report how much is free.
    """
    free = free_memory()
    return free is None or needed <= free / 2


def free_memory(root: str | os.PathLike = "/") -> int | None:
    """Return the free memory in bytes, within the limits of machine and container.

    Args:
        root: folder that holds `proc` and `sys`.

    Returns:
        None if the system does not report it.
    """
    limits = []
    try:
        limits.append(_read_fields(Path(root, "proc/meminfo"))["MemAvailable:"] * 1024)
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in _control_groups(Path(root)):
        # The file names of cgroup version 2, then of version 1.
        for limit_file, used_file, cache_field in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            # Most groups have no limit, and only the files of one version exist.
            with contextlib.suppress(OSError, ValueError):
                limit = int((group / limit_file).read_text(encoding="ascii"))
                used = int((group / used_file).read_text(encoding="ascii"))
                # The kernel frees cached files when memory is needed.
                cached = _read_fields(group / "memory.stat").get(cache_field, 0)
                limits.append(max(0, limit - used + cached))
    return min(limits, default=None)


def _control_groups(root: Path) -> list[Path]:
    """Return the folders of this process's control groups and of all their ancestors."""
    mounted = root / "sys/fs/cgroup"
    groups = [mounted, mounted / "memory"]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            group = mounted / controllers / path.lstrip("/")
            groups += [group, *(above for above in group.parents if mounted in above.parents)]
    return groups


def _read_fields(path: Path) -> dict[str, int]:
    """Read a file with a name and a number per line."""
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {line[0]: int(line[1]) for line in lines}
