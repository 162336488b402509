"""Puts the binary into the wheel and names the platform that it runs on.

It takes what Cargo has built and builds nothing itself: a Rust build of its own would choose other
features of the dependencies than the workspace does, and compile them all again.
"""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# ELF's numbers of the processors that there are wheels for.
MACHINES = {0x3E: "x86_64", 0xB7: "aarch64"}


class Binary(BuildHookInterface[Any]):
    """A wheel of one platform, with `millstream` among its scripts."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the binary; it goes where pip puts commands."""
        binary = find_binary(Path(self.root))
        build_data["shared_scripts"][str(binary)] = "millstream"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform(binary)}"


def find_binary(root: Path) -> Path:
    """The binary in MILLSTREAM_BINARY, or else where `cargo build --release` puts it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", root.parent / "target"))
    binary = Path(os.environ.get("MILLSTREAM_BINARY", target / "release" / "millstream"))
    if not binary.is_file():
        raise SystemExit(
            f"there is no {binary}: build it first (cargo build --release --workspace), "
            "or name it in MILLSTREAM_BINARY"
        )
    return binary.resolve()


def platform(binary: Path) -> str:
    """The platform's tag: on Linux the processor and the oldest glibc that the binary runs on."""
    content = binary.read_bytes()
    if not content.startswith(b"\x7fELF"):
        return re.sub(r"[^0-9a-z_]", "_", sysconfig.get_platform().lower())
    machine = MACHINES[int.from_bytes(content[18:20], "little")]
    newest = max(int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", content))
    return f"manylinux_2_{newest}_{machine}"
