"""The bytes of a small version, for ever: whoever changes one of them needs a new format version."""

from imagemill.manifest import FORMAT_VERSION
from imagemill.spec import Shards
from tests.support.conversions import digests_of

# Pictures as bytes: no encoder's next release can change them. Four pixels, and one with the EXIF orientation 6.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a730000001649444154789c63f8cfc0c0f09f819181e1ff"
    "ffff0c001ef604fd09ed343e0000000049454e44ae426082"
)
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffe100224578696600004d4d002a000000080001011200030000000100060000000000"
    "00ffdb00430050373c463c32504641465a55505f78c882786e6e78f5afb991c8ffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc0000b080001000101011100ffc400140001000000"
    "00000000000000000000000000ffc40014100100000000000000000000000000000000ffda0008010100003f003fffd9"
)

GOLDEN = {
    1: {
        "dataset_info.json": "62e839c88eda6f79f4113f4d2af546ff07c7d692a850e22e3f383f9241c1d0e6",
        "facts.json": "a44f626068d1c526b1f9e0d02b5d0485a5f987100ad5043c022f94420299fd50",
        "features.json": "871c3ea65733d3be1de39f0e5b6b09ed51a5a060570a6dd8b2a83decea632347",
        "image-class-label.labels.txt": "f641fdcd8af73b2f6334ab63c13d2eb857cd16f2aa4ea0ba20ba0eb9627918b5",
        "labels.txt": "f641fdcd8af73b2f6334ab63c13d2eb857cd16f2aa4ea0ba20ba0eb9627918b5",
        "manifest.json": "cfe194fdff8b4d8cd82d3f9ec9f517fe1a5742ef8476d8cf1e2484f3ef28e959",
        "mixture-extra.index-00000-of-00001": "0d8e3b0b2787a4c765210e12d0569808e877ef77a0bb3bbf8ef3ff7f3aa6112f",
        "mixture-extra.tfrecord-00000-of-00001": "584f941c3bed95606355be28549970aeae61e9c58803d61435b506eec90e73ff",
        "mixture-test.index-00000-of-00001": "43da59a0b42f5e3c91c366704ba0c2ad718abd99527ee5d4220bb058efa221cc",
        "mixture-test.tfrecord-00000-of-00001": "90cc990810bc0f4d761e8e80cf180a1cd0a476113776b63181bfba8046c72d5b",
        "mixture-train.index-00000-of-00002": "edebee433d9e0d8825391cf11ce6d1d8a46fb2f36b08d291b599aa68491111cd",
        "mixture-train.index-00001-of-00002": "aba4f53a9962c2f8ff40073e66f1ca7da635986fc587932d36df91127cdb2ab6",
        "mixture-train.tfrecord-00000-of-00002": "d92f422f671a60633321daf3f2e6b0f811b269bd43fcde51e8557b87a173cb04",
        "mixture-train.tfrecord-00001-of-00002": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "rejects.jsonl": "f8f28b1808c8c7c8f435b4c8e4752fbeb6668a90858371b52c58ed09ffd0b125",
    },
}
"""SHA-256 of every file that the manifest names, and of the manifest, by format version."""


def test_the_bytes_of_a_format_version_never_change(inputs, convert):
    for number in range(12):
        inputs.add_good(f"p/{number}.png", PNG, ("cat", "dog,test", "1,extra,one group")[number % 3])
    inputs.add_good("ü #.jpg", JPEG, "dog")
    inputs.add("cut.png", PNG[:-9], "dog")
    inputs.rows += [b"gone.png,cat", b"../up.png,cat", b"one column", b"p/0.png,cat", b"p/9.png,dog"]
    inputs.write_index()
    shards = Shards(count={"train": 2, "test": 1, "extra": 1})
    assert digests_of(convert(inputs, shards=shards)) == GOLDEN[FORMAT_VERSION]
