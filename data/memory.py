"""How much memory can be had."""

import contextlib
import os
from pathlib import Path


def fits_in_memory(needed: int) -> bool:
    """Tell whether an array takes at most half of the memory that is free.

    The other half is for training itself.

    Args:
        needed: bytes.

    Returns:
        True also where the system does not tell how much is free.
    """
    free = free_memory()
    return free is None or needed <= free / 2


def free_memory(root: str | os.PathLike = "/") -> int | None:
    """Return the bytes that can be had, by what the machine has and the container allows.

    Args:
        root: where `proc` and `sys` are.

    Returns:
        None where the system does not tell.
    """
    limits = []
    try:
        fields = _fields(Path(root, "proc/meminfo"))
        limits.append(fields["MemAvailable:"] * 1024)
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in _control_groups(Path(root)):
        # The names of version 2, then of version 1.
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            # Most groups set no limit, and only one of the versions is there.
            with contextlib.suppress(OSError, ValueError):
                allowed = int((group / limit).read_text(encoding="ascii"))
                taken = int((group / used).read_text(encoding="ascii"))
                # What is kept of files goes when memory is asked for.
                kept = _fields(group / "memory.stat").get(cache, 0)
                limits.append(max(0, allowed - taken + kept))
    return min(limits, default=None)


def _control_groups(root: Path) -> list[Path]:
    """Return the folders of this process's control groups and of all above them."""
    mounted = root / "sys/fs/cgroup"
    found = [mounted, mounted / "memory"]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            group = mounted / controllers / path.lstrip("/")
            found += [group, *(above for above in group.parents if mounted in above.parents)]
    return found


def _fields(path: Path) -> dict[str, int]:
    """Read a file of names and numbers."""
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {line[0]: int(line[1]) for line in lines}
