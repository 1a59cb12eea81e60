"""A person between validation and publication."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from imagemill.spec import DatasetSpec
from imagemill_airflow.explanations import approval_request

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class ApprovePublicationOperator(ApprovalOperator):
    """Asks a person whether a validated version may be published.

    :param spec: The dataset.
    :param plan: What `plan_conversion` returned (templated).
    :param validated: What `validate_records` returned (templated).
    """

    template_fields = (*ApprovalOperator.template_fields, "plan", "validated")

    def __init__(self, *, spec: DatasetSpec, plan: Any, validated: Any, **kwargs: Any) -> None:
        super().__init__(subject=f"Publish the new version of {spec.name}?", **kwargs)
        self.spec = spec
        self.plan = plan
        self.validated = validated

    def execute(self, context: Context) -> Any:
        """Parks the task until somebody answers; a rehearsal asks nobody."""
        skip_rehearsal(self.plan)
        self.subject, self.body = approval_request(self.spec, self.validated)
        return super().execute(context)


def skip_rehearsal(plan: Mapping[str, Any]) -> None:
    """Keeps a limited run from being published.

    Raises:
        AirflowSkipException: The run converted only some of the rows.
    """
    if plan["limited"]:
        reason = f"{plan['version']} is a rehearsal; it is never published"
        log.info(reason)
        raise AirflowSkipException(reason)
