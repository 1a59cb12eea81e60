"""What an image's bytes say about it without decoding its pixels, and whether its pixels decode.

The measure is TensorFlow's `decode_image`: what it cannot decode is refused, as far as structure tells.
`verify_decode` covers the rest at the price of decoding.
"""

from imagemill.images.decode import verify_decode
from imagemill.images.exif import UPRIGHT
from imagemill.images.facts import ImageFacts, RefusedImage
from imagemill.images.probe import probe

__all__ = ["UPRIGHT", "ImageFacts", "RefusedImage", "probe", "verify_decode"]
