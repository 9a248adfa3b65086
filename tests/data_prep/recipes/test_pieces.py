import numpy as np
import pytest
import soundfile

from data_prep.recipes.debian.pieces import join, measure_file


def word(path, seconds=1.5):
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * 44100)) / 44100
    wave = 0.1 * rng.standard_normal(len(time)) * (np.maximum(np.sin(25 * time), 0) ** 4 + 1e-4)
    soundfile.write(path, wave, 44100, format="OGG", subtype="VORBIS")
    return bytearray(path.read_bytes())


def measured(path):
    return measure_file("word", path, speech=False, min_bandwidth=0)


def test_word_whose_ogg_stream_has_no_end_mark_is_used(tmp_path):
    content = word(path := tmp_path / "word.ogg")
    last = content.rfind(b"OggS\0")
    content[last + 5] &= ~4  # the flag "end of stream" (RFC 3533, section 6)
    content[last + 22 : last + 26] = page_checksum(bytes(content[last:]))
    path.write_bytes(content)

    piece = measured(path)

    assert (piece.reason, piece.detail) == ("", "")
    assert piece.seconds > 1.2
    join([piece, piece], joined := tmp_path / "joined.flac")
    assert soundfile.info(joined).duration == pytest.approx(2 * piece.seconds + 0.06, abs=0.001)


def test_word_that_is_broken_inside_is_left_out(tmp_path):
    content = word(path := tmp_path / "word.ogg", seconds=4)
    middle = len(content) // 3
    content[middle : middle + 600] = bytes(600)
    path.write_bytes(content)

    assert measured(path).reason == "broken"


def page_checksum(page: bytes) -> bytes:
    """CRC-32 of an Ogg page with its own field at zero (RFC 3533, section 6)."""
    register = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return register.to_bytes(4, "little")
