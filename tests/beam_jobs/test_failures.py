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

During handling of the above exception, another exception occurred:
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
            "the runner lost a worker while the job ran; its log may say why",
            id="a worker that was lost",
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


@pytest.mark.parametrize(
    "error",
    [
        KeyError("imagemill"),
        RuntimeError(TRACEBACK.format(error="KeyError: 'x'")),
        RuntimeError(TRACEBACK.format(error="imagemill.errors.NoSuchError: x")),
        RuntimeError(TRACEBACK.format(error="imagemill.nosuchmodule.Fault: x")),
    ],
)
def test_everything_else_is_a_bug(error):
    assert find_failure(error) is None


def test_a_runner_out_of_reach_is_a_temporary_fault():
    channel = grpc.insecure_channel("127.0.0.1:1")
    with pytest.raises(grpc.FutureTimeoutError) as caught:
        grpc.channel_ready_future(channel).result(timeout=0.05)
    channel.close()
    failure = find_failure(caught.value)
    assert isinstance(failure, TemporaryFault)
    assert "the runner cannot be reached" in str(failure)
