"""Is every loss of a damaged file named?

What no reader could know is left out by the choice of seeds: files without lengths that are cut
between two frames, and what is missing before the first packet that is left.
"""

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from audiosr.errors import AudioFileError
from tests.audio.containers import LOSSLESS, coded, heard
from tests.audio.test_decode import DELAYED, TRIMMED

FRAMES = {kind[:2]: kind[2] for kind in TRIMMED + DELAYED}
KINDS = [*LOSSLESS, *FRAMES]

SEED = 5

Harm = Callable[[bytearray, np.random.Generator], None]


def flip_bits(content: bytearray, random: np.random.Generator) -> None:
    for place in random.integers(len(content), size=random.integers(1, 8)):
        content[place] ^= 1 << random.integers(8)


def overwrite(content: bytearray, random: np.random.Generator) -> None:
    at, size = random.integers(len(content)), random.integers(20, 600)
    content[at : at + size] = random.bytes(len(content[at : at + size]))


def cut_off(content: bytearray, random: np.random.Generator) -> None:
    del content[random.integers(1, len(content)) :]


def take_out(content: bytearray, random: np.random.Generator) -> None:
    at = random.integers(len(content))
    del content[at : at + int(random.integers(20, 900))]


def put_in(content: bytearray, random: np.random.Generator) -> None:
    at = random.integers(len(content))
    content[at:at] = random.bytes(int(random.integers(1, 500)))


def change_head(content: bytearray, random: np.random.Generator) -> None:
    content[random.integers(200)] ^= 0xFF


HARMS: list[Harm] = [flip_bits, overwrite, cut_off, take_out, put_in, change_head]


@pytest.mark.parametrize(("container", "codec"), KINDS)
def test_no_more_than_a_frame_is_lost_without_a_word(container: str, codec: str):
    whole, _ = coded(container, codec, seconds=1.0)
    wave, damage = heard(whole)
    assert damage == ""
    least = wave.shape[1] - FRAMES.get((container, codec), 0)

    for number, harm in enumerate(2 * HARMS):
        content, kind = bytearray(whole), zlib.crc32(f"{container} {codec}".encode())
        harm(content, np.random.default_rng([SEED, number, kind]))
        try:
            left, damage = heard(bytes(content))
        except AudioFileError:
            continue
        assert damage or left.shape[1] >= least, (harm.__name__, number)
