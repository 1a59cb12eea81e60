from __future__ import annotations

import grpc
import pytest

from beam_jobs.failures import find_failure
from imagemill.errors import CallerError, TemporaryFault, UnusableData
from imagemill.storage import MissingObject


def raised(*errors):
    """Returns the last of the errors, each raised from the one before."""
    last = None
    for error in errors:
        try:
            raise error from last
        except Exception as caught:
            last = caught
    return last


TRACEBACK = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in process
  File "imagemill/version/files.py", line 87, in check
{error} [while running 'Convert/Write manifest']

The above exception was the direct cause of the following exception:
RuntimeError: worker gone
"""


@pytest.mark.parametrize(
    ("error", "family", "message"),
    [
        pytest.param(UnusableData("bad"), UnusableData, "bad", id="as it was raised"),
        pytest.param(
            MissingObject("no x [while running 'Convert/Read']"), CallerError, "no x", id="with Beam's stage added"
        ),
        pytest.param(raised(TemporaryFault("503"), RuntimeError("x")), TemporaryFault, "503", id="as a cause"),
        pytest.param(
            RuntimeError(TRACEBACK.format(error="imagemill.errors.UnusableData: rows: 3, not 4")),
            UnusableData,
            "rows: 3, not 4",
            id="as text from another process",
        ),
        pytest.param(
            RuntimeError("Pipeline job failed in state FAILED: io.grpc.StatusRuntimeException: CANCELLED: call closed"),
            TemporaryFault,
            "the runner lost a worker, or waited for one in vain; its log may say why",
            id="a worker that was lost",
        ),
        pytest.param(
            RuntimeError(
                "Pipeline job-001 failed in state FAILED: jobFailed job-001[job]: worker[job-001[job]_1] didn't get "
                "control connection to localhost:43197 after 1m0s"
            ),
            TemporaryFault,
            "the runner lost a worker, or waited for one in vain; its log may say why",
            id="a worker that did not come up in time",
        ),
        pytest.param(
            RuntimeError(TRACEBACK.format(error="imagemill.storage.store.ObjectTooLarge: big")),
            CallerError,
            "big",
            id="a subclass with a constructor of its own",
        ),
    ],
)
def test_the_error_behind_what_a_runner_raises(error, family, message):
    failure = find_failure(error)
    assert isinstance(failure, family)
    assert str(failure) == message


def raised_while_handling(error, *, hidden):
    """Returns a KeyError that comes from code which was just handling another error."""
    try:
        try:
            raise error
        except Exception:
            if hidden:
                raise KeyError("x") from None
            raise KeyError("x")  # noqa: B904  # the mistake that is tested
    except KeyError as caught:
        return caught


LOST = "io.grpc.StatusRuntimeException: CANCELLED: call closed"


@pytest.mark.parametrize(
    "error",
    [
        KeyError("imagemill"),
        pytest.param(raised_while_handling(MissingObject("no x"), hidden=False), id="while another was handled"),
        pytest.param(raised_while_handling(MissingObject("no x"), hidden=True), id="instead of another"),
        pytest.param(
            RuntimeError(
                TRACEBACK.format(error="imagemill.errors.UnusableData: x").replace(
                    "The above exception was the direct cause of the following exception:",
                    "During handling of the above exception, another exception occurred:",
                )
            ),
            id="while another was handled, as text",
        ),
        pytest.param(KeyError(LOST), id="a bug whose message has a runner's words in it"),
        pytest.param(RuntimeError(TRACEBACK.format(error=f"KeyError: '{LOST}'")), id="such a bug, as text"),
        RuntimeError(TRACEBACK.format(error="KeyError: 'x'")),
        RuntimeError(TRACEBACK.format(error="imagemill.errors.NoSuchError: x")),
        RuntimeError(TRACEBACK.format(error="imagemill.nosuchmodule.Fault: x")),
    ],
)
def test_everything_else_is_a_bug(error):
    assert find_failure(error) is None


class NeverAnswered(grpc.RpcError):
    """What grpc raises when a call's time is over."""

    def code(self):
        return grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_runner_that_does_not_answer_in_time_is_a_temporary_fault():
    assert isinstance(find_failure(NeverAnswered()), TemporaryFault)


def test_a_runner_out_of_reach_is_a_temporary_fault():
    channel = grpc.insecure_channel("127.0.0.1:1")
    with pytest.raises(grpc.FutureTimeoutError) as caught:
        grpc.channel_ready_future(channel).result(timeout=0.05)
    channel.close()
    failure = find_failure(caught.value)
    assert isinstance(failure, TemporaryFault)
    assert "the runner cannot be reached" in str(failure)
