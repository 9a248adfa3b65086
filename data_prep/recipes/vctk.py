"""VCTK 0.92: read English of 110 speakers at 48 kHz, microphone 1.

Test is what published super-resolution figures use: p360, p361, p362, p363, p364, p374, p376 and
s5. The speakers p280 and p315, of whom microphone 2 is missing, are left out as there.
"""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from data_prep import corpora
from data_prep.clips import Drop, Item
from data_prep.corpora import PublishedCorpus, training_split
from data_prep.fetch.download import Archive

_AUDIO = "wav48_silence_trimmed"
_CORPUS = PublishedCorpus(
    page="https://datashare.ed.ac.uk/handle/10283/3443",
    holds=(_AUDIO,),
    files={"test": 2937},
    archives=(
        Archive(
            "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
            # As torchaudio has it.
            sha256="f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
        ),
    ),
)
_TEST = frozenset({"p360", "p361", "p362", "p363", "p364", "p374", "p376", "s5"})
_LEFT_OUT = frozenset({"p280", "p315"})

add_arguments = partial(corpora.add_arguments, archives=True, valid=True)


def items(args: Namespace) -> Iterator[Item | Drop]:
    """The utterances, by speaker."""
    root = _CORPUS.locate(args)

    def found() -> Iterator[Item | Drop]:
        for path in sorted((root / _AUDIO).glob("*/*_mic1.flac")):
            name, speaker = path.relative_to(root).as_posix(), path.parent.name
            if speaker in _LEFT_OUT:
                yield Drop(name, "outside the split", f"speaker {speaker}")
                continue
            split = "test" if speaker in _TEST else training_split(speaker, args.valid_fraction)
            yield Item(path, name, split, "speech", speaker, "CC-BY-4.0")

    return _CORPUS.count(found())
