"""What a person is told of one event: what, why, what is still being served, what to do, and where to look."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from imagemill.spec.alerts import AlertEvent

if TYPE_CHECKING:
    import jinja2

KINDS: Mapping[AlertEvent, str] = {
    "failure": "failure",
    "rejected": "failure",
    "recovery": "success",
    "stale": "warning",
    "approval": "info",
    "publication": "success",
}
"""How bad an event is, in the four words of Apprise's API, whose server takes a webhook document as it is."""

COLOURS = {"failure": "#b3261e", "warning": "#b26a00", "success": "#1e7d32", "info": "#1a5fb4"}

_SLACK_SECTION = 3000  # characters; https://docs.slack.dev/reference/block-kit/blocks/section-block
_SLACK_HEADER = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event, in words.

    Attributes:
        event: Which of the spec's `alerts.events` it is.
        dataset: Whose.
        headline: What happened, in one line.
        why: The check and its advice, the job's error, the person's reason.
        served: The version that training goes on reading.
        advice: What to do; empty where nothing is to be done. Of a publication, what is served from now on.
        links: Where to look, by name.
        facts: The same for machines.
    """

    event: AlertEvent
    dataset: str
    headline: str
    why: str
    served: str
    advice: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return KINDS[self.event]

    @property
    def subject(self) -> str:
        return f"[imagemill] {self.dataset}: {self.headline}"

    @property
    def sections(self) -> dict[str, str]:
        """The paragraphs, by title."""
        titles = {"Why": self.why, "Still served": self.served, "What to do": self.advice}
        if self.event == "publication":
            titles = {"What": self.why, "Served before": self.served, "Served now": self.advice}
        return {title: text for title, text in titles.items() if text}

    @property
    def text(self) -> str:
        """The notice as plain text."""
        paragraphs = [f"{title}: {text}" for title, text in self.sections.items()]
        return "\n".join([self.subject, *paragraphs, *(f"{name}: {url}" for name, url in self.links.items())])

    @property
    def html(self) -> str:
        """The notice as a mail's body."""
        return _mail_template().render(notice=self, colour=COLOURS[self.kind])

    @property
    def document(self) -> dict[str, Any]:
        """The notice as a webhook's JSON.

        `text` is what Mattermost, Google Chat and their like show; `title`, `body` and `type` are what an Apprise
        server takes; the rest is for programs.
        """
        head, _, body = self.text.partition("\n")
        return {
            "event": self.event,
            "dataset": self.dataset,
            "type": self.kind,
            "title": head,
            "body": body,
            "text": self.text,
            "links": dict(self.links),
            **self.facts,
        }

    @property
    def slack(self) -> dict[str, Any]:
        """The notice as a Slack message; its own text is what a phone's notification shows."""
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": _cut(self.subject, _SLACK_HEADER)}}
        ]
        for title, text in self.sections.items():
            shown = _cut(f"*{title}:* {_slack_escaped(text)}", _SLACK_SECTION)
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": shown}})
        web = {name: url for name, url in self.links.items() if url.startswith("http")}
        places = [f"<{url}|{name}>" for name, url in web.items()]
        places += [f"{name}: `{url}`" for name, url in self.links.items() if name not in web]
        if places:
            blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(places)}]})
        return {"text": self.subject, "attachments": [{"color": COLOURS[self.kind], "blocks": blocks}]}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _slack_escaped(text: str) -> str:
    """Escapes Slack's three control characters (https://docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@functools.cache
def _mail_template() -> jinja2.Template:
    import jinja2

    source = resources.files("imagemill_airflow").joinpath("templates", "alert_mail.html.jinja").read_text("utf-8")
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
