"""`imagemill doctor` for tests: a spec that names a bucket, and what the command says of an installation."""

from __future__ import annotations

from pathlib import Path

from tests.support.command import SPEC, Command

BUCKET = "doctor-bucket"
IN_A_BUCKET = SPEC + f"locations: {{staging: 'gs://{BUCKET}/staging', output: 'gs://{BUCKET}/dots'}}\n"


class Doctor:
    """What the command said."""

    def __init__(self, command: Command, *arguments: str | Path) -> None:
        self.ended = command("doctor", "--no-airflow", *arguments, "--json")
        self.findings = self.ended.json["findings"]

    def worst(self, verdict: str = "fault") -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["verdict"] == verdict]

    def one(self, check: str, verdict: str = "fault") -> str:
        (found,) = (finding for finding in self.worst(verdict) if finding["check"] == check)
        return f"{found['says']} → {found['advice']}"
