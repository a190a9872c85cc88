"""Seeds as pure functions of where in the run they are used, so that nothing random needs to be saved."""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(*parts: int | str) -> int:
    """63 bits from the parts, the same on every machine, with no relation between neighbours.

    blake2b rather than `hash` (differs by process) or `seed + step` (streams of neighbours overlap).
    """
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
