import subprocess
import sys
import tempfile

from imagemill.quality.readers import NativeReader, TensorFlowReader, open_reader
from imagemill.records.example import encode_features
from imagemill.records.tfrecord import frame

ANSWER = """
import json, os, sys
sys.stdin.readline()
print(json.dumps({"reader": "TensorFlow 9"}))
print(json.dumps({"record": {"key": "a", "stated_size": [1, 2], "decoded_size": [1, 2]}}))
"""


def converse(tmp_path, script):
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        return TensorFlowReader(process, log).read(tmp_path / "sample", [])


def test_a_reader_that_dies_is_a_finding_with_its_last_words(tmp_path):
    readings = converse(tmp_path, ANSWER + "sys.exit('no decoder for this')")
    assert readings.reader == "TensorFlow 9"
    assert [record.key for record in readings.records] == ["a"]
    assert "code 1: no decoder for this" in readings.crash
    killed = converse(tmp_path, ANSWER + "sys.stdout.flush(); os.kill(os.getpid(), 11)")
    assert "code -11" in killed.crash


def test_a_reader_that_ends_well_has_not_crashed(tmp_path):
    assert converse(tmp_path, ANSWER).crash == ""


def test_a_reader_that_dies_before_it_is_asked_is_a_finding_too(tmp_path):
    assert "code 3" in converse(tmp_path, "import sys; sys.exit(3)").crash


def test_leaving_early_ends_the_process():
    with open_reader("tensorflow") as reader:
        process = reader.process
    assert process.returncode is not None


def test_the_native_reader_says_what_is_no_record(tmp_path):
    sample = tmp_path / "sample"
    sample.write_bytes(frame(b"\xff\xff") + frame(encode_features({"image/encoded": b"x"})))
    first, second = NativeReader().read(sample, []).records
    assert "not a tf.train.Example" in first.unparsed
    assert "missing" in second.unparsed
