"""The data folder: its lock, its secrets, and the settings that are filled in from it."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, ENOTDIR
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from domain.errors import Refused
from orchestrator.settings import Settings

__all__ = ["DataFolder", "resolve"]

OF_SETTINGS = ("jwt", "webhook", "pickup", "queue")
"""Secrets that the setting ``<name>_secret`` gives, where it is set."""
SECRETS = (*OF_SETTINGS, "redis")


def resolve(settings: Settings) -> Settings:
    """Settings with secrets and the ledger's URL filled in from the data folder. Raises ``Refused``
    with ``data-unusable``."""
    folder = DataFolder(settings.data)
    kept = folder.secrets()
    filled: dict[str, Any] = {"data": folder.path}
    for name in OF_SETTINGS:
        if not getattr(settings, f"{name}_secret").get_secret_value():
            filled[f"{name}_secret"] = SecretStr(kept[name])
    if not settings.database_url:
        filled["database_url"] = f"sqlite+aiosqlite:///{folder.path / 'ledger.db'}"
    return settings.model_copy(update=filled)


class DataFolder:
    """The folder of everything embedded; one service at a time may hold it."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: Any = None

    def lock(self) -> None:
        """Raises ``Refused``: ``data-in-use`` when another service runs on this folder,
        ``data-unusable`` when nothing can be written there."""
        self._make()
        with self._usable():
            (self.path / "logs").mkdir(exist_ok=True)
            self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(
                "data-in-use",
                f"Another Doorstep runs on {self.path}. Stop it, or set DOORSTEP_DATA to another "
                "folder.",
            ) from None

    def unlock(self) -> None:
        """Let another service have the folder, once no child holds the lock any more."""
        if self._lock is not None:
            self._lock.close()

    @property
    def in_use(self) -> bool:
        """Whether a service runs on this folder. Makes nothing."""
        with self._usable():
            try:
                lock = (self.path / "lock").open()
            except (FileNotFoundError, NotADirectoryError):
                return False
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    @property
    def standing(self) -> Path:
        """The folder, or as long as it is not there the nearest one above it. Makes nothing."""
        with self._usable():
            return next(path for path in (self.path, *self.path.parents) if path.exists())

    def check_writable(self) -> None:
        """Whether a service could write here, or make the folder. Makes nothing. Raises ``Refused``
        with ``data-unusable``."""
        standing = self.standing
        with self._usable():
            if not standing.is_dir():
                raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
            if not os.access(standing, os.W_OK | os.X_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))

    @property
    def held(self) -> tuple[int, ...]:
        """The lock's descriptor, for children that write here: while one lives, the folder stays
        locked, though the supervisor be gone."""
        return () if self._lock is None else (self._lock.fileno(),)

    def _make(self) -> None:
        """Orders, addresses and money lie here: the owner's alone."""
        with self._usable():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Refused(
                "data-unusable",
                f"The data folder {self.path} cannot be used: {error.strerror}. Set DOORSTEP_DATA "
                "(or --data) to a folder of yours.",
            ) from error

    @property
    def has_secrets(self) -> bool:
        """Whether a service was ever started on this folder. Makes nothing."""
        with self._usable():
            return (self.path / "secrets.json").exists()

    def secrets(self) -> dict[str, str]:
        """Secrets made at the first start, readable by the owner alone. Raises ``Refused`` with
        ``data-unusable``."""
        file = self.path / "secrets.json"
        with self._usable():
            kept = dict(json.loads(file.read_text())) if file.exists() else {}
        missing = [name for name in SECRETS if name not in kept]
        if missing:
            self._make()
            kept |= {name: secrets.token_urlsafe(32) for name in missing}
            # Whole or not at all: a half-written file would be a lost secret.
            new = file.with_suffix(".new")
            with self._usable():
                made = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
                with os.fdopen(made, "w") as out:
                    json.dump(kept, out)
                new.replace(file)
        return kept
