"""report.json: one record per input of the last command, always whole, written again after every input."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stylegan_core.files import write_json

REPORT_NAME = "report.json"
MAX_REPORT_BYTES = 256 << 20
DONE, FAILED = "done", "failed"


class Report:
    """The records of a command in the order of its inputs. Inputs without a record yet are left out of the file."""

    def __init__(self, folder: Path, keys: Sequence[str]):
        self.path = folder / REPORT_NAME
        self.previous = _records_of(self.path)
        self._records: dict[str, dict[str, Any] | None] = dict.fromkeys(keys)

    @property
    def records(self) -> list[dict[str, Any]]:
        """In the order of the inputs."""
        return [record for record in self._records.values() if record is not None]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The records of what could not be done."""
        return [record for record in self.records if record["status"] == FAILED]

    def put(self, key: str, record: Mapping[str, Any], *, write: bool = True) -> None:
        """Sets the record of an input and writes the file."""
        self._records[key] = jsonable(record)
        if write:
            self.write()

    def write(self) -> None:
        """Writes the file, whole or not at all."""
        write_json(self.path, self.records)

    def record_before(self, **facts: Any) -> dict[str, Any] | None:
        """The record of an earlier command that was done and has all these facts; None when there is none."""
        for record in self.previous:
            if record.get("status") == DONE and all(record.get(key) == value for key, value in facts.items()):
                return dict(record)
        return None


def options_sha256(options: Mapping[str, Any]) -> str:
    """Hash of everything that decides a result, so that finished work is recognised."""
    text = json.dumps(jsonable(options), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def jsonable(value: Any) -> Any:
    """JSON has neither NaN nor infinity nor numbers of other libraries: such become null or plain numbers."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return jsonable(value.item())
    return str(value)


def _records_of(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            return []
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
