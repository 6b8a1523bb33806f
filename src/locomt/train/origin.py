"""Whose run it is: a mark over `config.yaml` that only the user who began the run can make.

A run may have been downloaded. Its `config.yaml` names a manifest, tokenizers, encoders and checkpoints, which whoever
wrote it chose: files of this machine, or ids that are fetched from the network. So none of them is followed out of the
run's folder unless the user made the run, or says so.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

MARK = "origin"
"""The file beside `config.yaml` that holds the mark."""
BYTES, PASSED_ON = 32, "_LOCOMT_RUN_KEY"
_TRUSTING = ContextVar("trusting", default=False)


@contextmanager
def trusting(wanted: bool = True) -> Iterator[None]:
    """Follow the names in anybody's `config.yaml` for a while."""
    before = _TRUSTING.set(wanted or _TRUSTING.get())
    try:
        yield
    finally:
        _TRUSTING.reset(before)


def state_folder() -> Path:
    """Where the key lies: `$XDG_STATE_HOME/locomt`, or `~/.local/state/locomt`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "locomt"


def key() -> bytes:
    """The user's own, made when first needed. Where there is no place for it, one for this process and those it starts,
    so that what they do together works; to others their runs are foreign."""
    try:
        return _stored_key(state_folder() / "key")
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        os.environ.setdefault(PASSED_ON, secrets.token_hex(BYTES))
        return bytes.fromhex(os.environ[PASSED_ON])


def _stored_key(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = path.with_name(f"key.{os.getpid()}")
        try:
            with open(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(BYTES))
            with suppress(FileExistsError):
                os.link(mine, path)  # whole or not at all, and never in place of another process's
        finally:
            mine.unlink(missing_ok=True)
    found = path.read_bytes()
    if len(found) != BYTES:
        raise OSError(f"{path}: expected {BYTES} bytes, got {len(found)}")
    return found


def mark_of(config: bytes) -> str:
    """The mark of a run whose `config.yaml` this is."""
    return hmac.new(key(), config, hashlib.sha256).hexdigest()


def is_run(config: Path) -> bool:
    """Whether a YAML file is the `config.yaml` of a run, and no recipe that somebody called so."""
    folder = config.parent
    made = (folder / "labels.json").is_file() and ((folder / "model").is_dir() or (folder / "checkpoints").is_dir())
    return config.name == "config.yaml" and (made or (folder / MARK).is_file())


def is_foreign(config: Path) -> bool:
    """Whether a `config.yaml` is that of a run which this user did not begin, or changed since."""
    if _TRUSTING.get() or not is_run(config):
        return False
    try:
        mark = (config.parent / MARK).read_bytes().strip()
    except OSError:
        return True
    return not hmac.compare_digest(mark, mark_of(config.read_bytes()).encode())


def within(path: str | Path, folder: Path) -> bool:
    """Whether a path lies in a folder, symbolic links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def refusal(config: Path, field: str, value: object) -> str:
    """Why a name in a foreign `config.yaml` is not followed, and what to do."""
    return (
        f"{config}: {field} is {value!r:.200}, outside of this run's folder, and the run was not begun by you on this "
        f"machine, or was changed since ({MARK} holds no mark of the key in {state_folder()}): look whether that is "
        f"what you want, and pass --trust (in Python trust=True)"
        + (f", or set --{field} yourself" if field != "data.allow_outside" else "")
    )
