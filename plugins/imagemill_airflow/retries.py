"""Which failures Airflow repeats. It asks the error's family, never its text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowTaskTimeout

from imagemill.errors import ImagemillError, TemporaryFault


def retry_policy() -> ExceptionRetryPolicy:
    """Returns the policy of every task: temporary faults are repeated, everything else fails at once.

    What is no error of ours and no fault of a connection is a bug, and repeating a bug hides it.
    """
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=[TemporaryFault, ConnectionError, TimeoutError],
                action=RetryAction.RETRY,
                reason="a temporary fault: time may heal it",
            ),
            RetryRule(
                exception=ImagemillError,
                action=RetryAction.FAIL,
                reason="repeating it changes nothing: the spec, its input or its location needs a person",
            ),
            # Airflow's own faults: a task that ran out of time, an API server that did not answer.
            RetryRule(exception=[AirflowTaskTimeout, AirflowRuntimeError], action=RetryAction.DEFAULT),
        ],
        default=RetryAction.FAIL,
    )


def is_final(error: BaseException, ti: Any) -> bool:
    """Tells whether Airflow tries a task no more after an error."""
    decision = retry_policy().evaluate(error, ti.try_number, ti.max_tries)
    return decision.action is RetryAction.FAIL or ti.try_number > ti.max_tries


def retry_arguments() -> dict[str, Any]:
    """Returns the `default_args` that decide how often and when a task is repeated.

    Airflow draws each pause anew: 0.5 to 1 minute, 1 to 2, 2 to 4, and 4 to 8.
    """
    return {
        "retries": 4,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": retry_policy(),
    }
