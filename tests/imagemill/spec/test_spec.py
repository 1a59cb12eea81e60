import pytest
from pydantic import ValidationError

from imagemill.spec import CifarSource, DatasetSpec

SHA = "ab" * 32


def spec(**changes):
    return DatasetSpec.model_validate(
        {
            "name": "pets",
            "source": {"type": "folder", "root": "/images"},
            "locations": {"staging": "/s", "output": "/o", "work": "/w"},
        }
        | changes
    )


def test_the_least_spec_has_everything_else_by_default():
    assert spec().splits.fractions == {"train": 1.0}


def test_specs_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        spec().name = "other"


def test_a_url_may_carry_the_checksum():
    source = CifarSource(type="cifar", archive=f"https://x.org/c.tar.gz#sha256={SHA}")
    assert (source.archive, source.sha256) == ("https://x.org/c.tar.gz", SHA)


def test_a_file_name_may_contain_what_looks_like_a_fragment():
    assert CifarSource(type="cifar", archive="/data/a#sha256=b").archive == "/data/a#sha256=b"


CIFAR = {"type": "cifar", "archive": "/c.tar.gz"}
NAMES = {"names": ["train", "test"]}
CLOUD = {"staging": "gs://b/s", "output": "gs://b/o", "work": "/w"}
DATAFLOW = {"project": "my-project", "region": "europe-west1", "temp_location": "gs://bucket/temp"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"source": CIFAR}, "`splits.names` has none", id="cifar names its splits"),
        pytest.param(
            {"source": {"type": "shapes"}, "splits": {"names": ["train"]}},
            "but `splits.names` has train",
            id="one of two",
        ),
        pytest.param(
            {"source": CIFAR | {"label": "coarse"}, "splits": NAMES}, "CIFAR-10 has no coarse labels", id="coarse"
        ),
        pytest.param(
            {"source": CIFAR | {"archive": "https://x/c"}, "splits": NAMES}, "needs a checksum", id="unpinned download"
        ),
        pytest.param(
            {"source": CIFAR | {"archive": f"https://x/c#sha256={SHA}", "sha256": "0" * 64}, "splits": NAMES},
            "pins the checksum",
            id="two checksums",
        ),
        pytest.param(
            {"source": {"type": "folder", "root": "/i", "layout": "split"}},
            "`splits.names` has none",
            id="split folders",
        ),
        pytest.param({"splits": NAMES}, "no image names a split", id="label folders without fractions"),
        pytest.param({"splits": {}}, "no split at all", id="no split"),
        pytest.param({"splits": {"fractions": {"a": 0.5}}}, "sum to 0.5", id="fractions"),
        pytest.param({"splits": {"names": ["a", "a"], "fractions": {"a": 1}}}, "`a` is here twice", id="split twice"),
        pytest.param({"conversion": {"shards": {"count": {"valid": 2}}}}, "The splits are train", id="unknown split"),
        pytest.param({"labels": {"names": ["a", "b", "a"]}}, "as id 0 and id 2", id="label twice"),
        pytest.param({"labels": {"names": ["a\nb"]}}, "cannot be a label", id="label of two lines"),
        pytest.param({"labels": {"names": ["(unassigned)"]}}, "cannot be a label", id="reserved label"),
        pytest.param({"labels": {"names": ["cat", "0"]}}, "could mean the label `0`", id="ambiguous label"),
        pytest.param(
            {"locations": {"staging": "/s", "output": "/s/", "work": "/w"}}, "is the same as", id="same place"
        ),
        pytest.param({"locations": {"staging": "/s", "output": "/s/o", "work": "/w"}}, "is inside", id="inside"),
        pytest.param(
            {"locations": {"staging": "gs://b/p/q", "output": "gs://b/p", "work": "/w"}}, "contains", id="contains"
        ),
        pytest.param({"locations": {"staging": "/w/s", "output": "/o", "work": "/w"}}, "contains", id="work around"),
        pytest.param(
            {"locations": {"staging": "file:///images/x", "output": "/o", "work": "/w"}},
            "your images would be overwritten",
            id="staging among the images",
        ),
        pytest.param({"locations": CLOUD | {"work": "gs://b/w"}}, "only a local folder", id="work in a bucket"),
        pytest.param({"locations": CLOUD | {"output": "ftp://b/w"}}, "Give `gs://", id="unknown scheme"),
        pytest.param({"locations": CLOUD | {"output": "gs:/b/w"}}, "Write `gs://bucket/prefix`", id="one slash"),
        pytest.param({"locations": CLOUD | {"output": " "}}, "is empty", id="empty location"),
        pytest.param({"schedule": "0 25 * * *"}, "`25` is no hour", id="schedule"),
        pytest.param({"alerts": {"email": ["ops"]}}, "is no e-mail address", id="address"),
        pytest.param({"conversion": {"formats": []}}, "at least 1 item", id="no format"),
        pytest.param({"conversion": {"runner": "flink"}}, "`job_endpoint: host:8099`", id="flink"),
        pytest.param({"conversion": {"runner": "portable"}}, "`job_endpoint: host:8099`", id="portable"),
        pytest.param({"conversion": {"runner": "prism"}}, "`prism_location: /usr/local/bin/prism`", id="prism"),
        pytest.param(
            {"conversion": {"runner": "dataflow", "dataflow": DATAFLOW}},
            "cannot reach `staging`",
            id="local places",
        ),
        pytest.param(
            {"conversion": {"runner": "dataflow"}, "locations": CLOUD}, "needs `project`", id="dataflow options"
        ),
        pytest.param(
            {
                "conversion": {"runner": "dataflow", "dataflow": DATAFLOW, "runner_options": {"worker_zone": "x"}},
                "locations": CLOUD,
            },
            "Write it as `dataflow: {zone: …}`",
            id="an option of Dataflow in the wrong place",
        ),
        *(
            pytest.param({"conversion": {"dataflow": DATAFLOW | settings}}, said, id=f"dataflow, {said}")
            for settings, said in (
                ({"project": "My Project"}, "`My Project` is no project id. Write one such as `my-project`"),
                ({"region": "europe"}, "is no region"),
                ({"region": "europe-west1-b"}, "is no region"),
                ({"zone": "b"}, "is no zone"),
                ({"zone": "us-central1-b"}, "is not in the region europe-west1"),
                ({"temp_location": "/tmp"}, "`/tmp` is no Cloud Storage prefix"),
                ({"staging_location": "s3://b/x"}, "is no Cloud Storage prefix"),
                ({"service_account": "me"}, "is no service account"),
                ({"impersonate": ["me"]}, "is no service account"),
                ({"subnetwork": "default"}, "is no subnetwork"),
                ({"subnetwork": "regions/us-central1/subnetworks/x"}, "is not in the region europe-west1"),
                ({"public_ips": False}, "Private Google Access"),
                ({"machine_type": "big"}, "is no machine type"),
                ({"disk_gb": 1}, "greater than or equal to 10"),
                ({"num_workers": 9, "max_num_workers": 3}, "start with 9 workers, and may have 3"),
                ({"autoscaling": "yes"}, "'throughput' or 'none'"),
                ({"labels": {"Team": "x"}}, "`Team` is no label"),
                ({"labels": {"team": "X Y"}}, "is no value of a label"),
                ({"worker_image": "Image"}, "is no image"),
                ({"worker_wheel": "dist/"}, "is no wheel"),
                ({"worker_image": "gcr.io/p/i:1", "worker_wheel": "x.whl"}, "Keep one of"),
                ({"endpoint": "localhost"}, "is no address"),
                ({"poll_seconds": 0}, "greater than 0"),
            )
        ),
        pytest.param({"conversion": {"runner_options": {"--x": 1}}}, "the bare name: `x`", id="dashes"),
        pytest.param({"conversion": {"runner_options": {"runner": "X"}}}, "set twice", id="runner twice"),
        pytest.param(
            {"validation": {"min_side": 33}, "conversion": {"max_image_pixels": 32 * 32}},
            "sides of 33 pixels has 1089 of them, and more than 1024 are rejected",
            id="no size is left",
        ),
    ],
)
def test_contradictions_are_refused(changes, said):
    with pytest.raises(ValidationError) as caught:
        spec(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"source": CIFAR, "splits": NAMES}, id="cifar"),
        pytest.param({"locations": {"staging": "/s", "output": "/s2", "work": "/w"}}, id="a longer name is not inside"),
        pytest.param({"labels": {"names": [str(digit) for digit in range(10)]}}, id="digits at their own places"),
        pytest.param(
            {"conversion": {"runner": "dataflow", "dataflow": DATAFLOW}, "locations": CLOUD},
            id="dataflow, complete",
        ),
        pytest.param({"alerts": {"email": ["ops@localhost", "a.b+c@example.org"]}}, id="addresses"),
    ],
)
def test_what_fits_together_passes(changes):
    spec(**changes)
