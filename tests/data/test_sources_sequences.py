"""The named sets of sequences: their published numbers, and what their readers refuse."""

import functools
import io
import os
import pickle
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaezoo.data import Data
from vaezoo.data.sets.handwriting import PEN_UNIT, read_pen_digits
from vaezoo.data.sets.polyphonic import read_piano_rolls
from vaezoo.data.sets.sources import SOURCES, load_source
from vaezoo.data.sets.speech import read_spoken_digits
from vaezoo.errors import RequestError

NAMES = ["jsb", "nottingham", "pendigits", "spoken-digits"]
Roll = np.ndarray[Any, np.dtype[np.uint8]]


@functools.cache
def loaded(name: str, folder: Path) -> Data:
    return load_source(name, data_dir=folder)


def frames(data: Data, split: str) -> list[np.ndarray]:
    """Return the sequences of a split without padding."""
    rows = data.rows(split)
    ends = data.arrays["length"][rows]
    return [x[:end] for x, end in zip(data.x[rows], ends, strict=True)]


def sizes(data: Data) -> dict[str, tuple[int, int]]:
    """Return the numbers of sequences and of frames by split."""
    parts = {split: frames(data, split) for split in data.splits}
    return {split: (len(part), sum(map(len, part))) for split, part in parts.items()}


@pytest.mark.parametrize("name", NAMES)
def test_published_facts_hold(name: str, real_data: Path) -> None:
    data = loaded(name, real_data)
    assert data.x.shape == SOURCES[name].shape
    assert data.kind == SOURCES[name].kind == "sequences"
    assert data.arrays["length"].max() == data.x.shape[1]
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(len(data.x)))
    assert list(data.splits) == ["train", "validation", "test"]


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_zero(name: str, real_data: Path) -> None:
    data = loaded(name, real_data)
    ends = data.arrays["length"]
    assert not any(x[end:].any() for x, end in zip(data.x, ends, strict=True))


# Polyphonic music


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jsb", {"train": (229, 13807), "validation": (76, 4602), "test": (77, 4725)}),
        (
            "nottingham",
            {"train": (694, 176561), "validation": (173, 45513), "test": (170, 44463)},
        ),
    ],
)
def test_piano_rolls_have_the_published_sizes(
    name: str, expected: dict[str, tuple[int, int]], real_data: Path
) -> None:
    data = loaded(name, real_data)
    assert sizes(data) == expected
    assert (data.x.dtype, data.x.max(), data.scale) == (np.uint8, 1, 1.0)


def marginal_nll(train: list[Roll], test: list[Roll]) -> float:
    """Nats per frame of independent notes, with the frequencies of the training frames."""
    p = np.concatenate(train).mean(0).clip(1e-4, 1 - 1e-4)
    return float(-np.where(np.concatenate(test) == 1, np.log(p), np.log1p(-p)).sum(1).mean())


def markov_nll(train: list[Roll], test: list[Roll]) -> float:
    """Nats per frame of a Markov chain for each note; counts of transitions + 1/2."""
    counts = np.full((2, 2, train[0].shape[1]), 0.5)
    for roll in train:
        for before in (0, 1):
            for after in (0, 1):
                counts[before, after] += ((roll[:-1] == before) & (roll[1:] == after)).sum(0)
    p = counts[:, 1] / counts.sum(1)
    total = 0.0
    for roll in test:
        on = np.take_along_axis(p, roll[:-1].astype(int), axis=0)
        total -= np.where(roll[1:] == 1, np.log(on), np.log1p(-on)).sum()
        total += marginal_nll(train, [roll[:1]])
    return total / sum(map(len, test))


@pytest.mark.parametrize(
    ("name", "marginal", "markov"), [("jsb", 11.062, 10.469), ("nottingham", 10.2545, 5.164)]
)
def test_piano_rolls_have_the_likelihood_of_simple_models(
    name: str, marginal: float, markov: float, real_data: Path
) -> None:
    data = loaded(name, real_data)
    train, test = frames(data, "train"), frames(data, "test")
    assert marginal_nll(train, test) == pytest.approx(marginal, abs=5e-4)
    assert markov_nll(train, test) == pytest.approx(markov, abs=5e-4)


def test_chorales_are_chords_of_four_voices(real_data: Path) -> None:
    data = loaded("jsb", real_data)
    chord = data.x[data.rows("train")[0], 0]
    assert [note for note, key in zip(data.columns, chord, strict=True) if key] == [
        "60", "72", "79", "88"
    ]  # fmt: skip
    notes = np.concatenate([roll for split in data.splits for roll in frames(data, split)])
    assert notes.sum(1).mean() == pytest.approx(3.9, abs=0.05)


def test_pickle_and_matlab_hold_the_same_notes(real_data: Path) -> None:
    folder = real_data / "polyphonic"
    one = read_piano_rolls([folder / "jsb_chorales.pickle"])
    other = read_piano_rolls([folder / "JSB_Chorales.mat"])
    assert np.array_equal(one.arrays["length"], other.arrays["length"])
    assert np.array_equal(one.x, other.x)


@pytest.mark.parametrize("file", ["jsb_chorales.pickle", "JSB_Chorales.mat"])
def test_either_file_will_do(file: str, tmp_path: Path, real_data: Path) -> None:
    (tmp_path / file).write_bytes((real_data / "polyphonic" / file).read_bytes())
    both = loaded("jsb", real_data)
    assert load_source("jsb", data_dir=tmp_path).checksum == both.checksum


def pickled(tmp_path: Path, value: object) -> list[Path]:
    path = tmp_path / "jsb.pickle"
    path.write_bytes(pickle.dumps(value, protocol=3))
    return [path]


def music(*notes: Any) -> dict[str, Any]:
    return {split: [[tuple(notes), ()]] for split in ("train", "valid", "test")}


@pytest.mark.parametrize("number", [int, np.int64, np.int32])
def test_pickle_of_numbers_is_read(tmp_path: Path, number: type) -> None:
    data = read_piano_rolls(pickled(tmp_path, music(number(21), number(108))))
    assert data.arrays["length"].tolist() == [2, 2, 2]
    assert data.x[0].nonzero() == pytest.approx(np.array([[0, 0], [0, 87]]))


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.command = f"touch {folder / 'touched'}"

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_pickle_that_runs_a_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"asks for (posix|nt)\.system, which is no number"):
        read_piano_rolls(pickled(tmp_path, music(Malicious(tmp_path))))
    assert not (tmp_path / "touched").exists()


FOREIGN = {
    "builtin": b"cbuiltins\neval\n(S'1'\ntR.",
    "import of Python 2": b"c__builtin__\neval\n(S'1'\ntR.",
    "attribute of NumPy": b"cnumpy\nload\n(S'x'\ntR.",
    "numbers in a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
}


@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN)
def test_pickle_that_names_anything_else_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "jsb.pickle").write_bytes(raw)
    with pytest.raises(RequestError, match="the pickle asks for") as failure:
        read_piano_rolls([tmp_path / "jsb.pickle"])
    assert "\n" not in str(failure.value)


DAMAGED = {
    "empty": b"",
    "no pickle": b"<html>not found</html>",
    "truncated": pickle.dumps(music(60), protocol=2)[:-9],
    "a list": pickle.dumps([1, 2]),
    "a missing split": pickle.dumps({"train": [[(60,)]]}),
    "a note below the keyboard": pickle.dumps(music(20)),
    "a note above the keyboard": pickle.dumps(music(109)),
    "a note beyond 64 bits": pickle.dumps(music(2**70)),
    "text for a note": pickle.dumps(music("c")),
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_damaged_pickle_is_one_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "jsb.pickle").write_bytes(raw)
    with pytest.raises(RequestError, match=r"jsb\.pickle does not hold") as failure:
        read_piano_rolls([tmp_path / "jsb.pickle"])
    assert "\n" not in str(failure.value)


# Spoken digits


def test_spoken_digits_have_the_published_sizes(real_data: Path) -> None:
    data = loaded("spoken-digits", real_data)
    assert {split: len(rows) for split, rows in data.splits.items()} == {
        "train": 2000,
        "validation": 250,
        "test": 250,
    }
    assert np.bincount(data.arrays["label"][data.rows("test")]).tolist() == [25] * 10


def test_spoken_digits_have_the_published_lengths_and_deviation(real_data: Path) -> None:
    data = loaded("spoken-digits", real_data)
    ends = data.arrays["length"]
    assert (ends.min(), ends.max()) == (1148 // 200, 18262 // 200)
    sound = np.concatenate([part for split in data.splits for part in frames(data, split)])
    assert (sound.dtype, np.abs(sound).max()) == (np.float32, 1.0)
    assert sound.std() == pytest.approx(0.060, abs=0.0015)


def test_spoken_digits_are_the_samples_of_the_recordings(real_data: Path) -> None:
    data = loaded("spoken-digits", real_data)
    archive = real_data / "fsdd" / "free-spoken-digit-dataset-1.0.9.tar.gz"
    with tarfile.open(archive) as content:
        member = content.extractfile("free-spoken-digit-dataset-1.0.9/recordings/0_george_0.wav")
        assert member is not None
        raw = member.read()
    samples = np.frombuffer(raw[44:], "<i2")  # after the header of a plain wav file
    first = frames(data, "test")[0].ravel()
    assert np.array_equal(first * 2**15, samples[: len(first)])
    assert len(samples) - len(first) < 200


def wav(samples: bytes, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(samples)
    return stream.getvalue()


def archive(tmp_path: Path, **recordings: bytes) -> list[Path]:
    with tarfile.open(tmp_path / "fsdd.tar.gz", "w:gz") as content:
        for name, raw in {"README": b"text", **recordings}.items():
            member = tarfile.TarInfo(f"fsdd/recordings/{name}.wav")
            member.size = len(raw)
            content.addfile(member, io.BytesIO(raw))
    return [tmp_path / "fsdd.tar.gz"]


def test_sound_is_cut_into_whole_frames(tmp_path: Path) -> None:
    samples = np.arange(-250, 250, dtype="<i2")
    data = read_spoken_digits(archive(tmp_path, **{"7_theo_3": wav(samples.tobytes())}))
    assert np.array_equal(data.x[0].ravel() * 2**15, samples[:400])
    assert (data.arrays["length"].tolist(), data.arrays["label"].tolist()) == ([2], [7])


def test_split_goes_by_the_index_of_the_recording(tmp_path: Path) -> None:
    sound = wav(bytes(800))
    names = {f"{digit}_theo_{index}": sound for digit in (4, 1) for index in (0, 4, 5, 9, 10, 49)}
    data = read_spoken_digits(archive(tmp_path, **names))
    assert {split: len(rows) for split, rows in data.splits.items()} == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }
    assert data.arrays["label"].tolist() == [1] * 6 + [4] * 6


FORMS = {"rate": {"rate": 16000}, "channels": {"channels": 2}, "width": {"width": 1}}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_sound_of_another_form_is_refused(tmp_path: Path, form: dict[str, int]) -> None:
    with pytest.raises(RequestError, match=r"7_theo_3\.wav has .* expected 1 of 16 bits at 8000"):
        read_spoken_digits(archive(tmp_path, **{"7_theo_3": wav(bytes(800), **form)}))


@pytest.mark.parametrize("raw", [b"", b"no archive", b"\x1f\x8b\x08half"])
def test_damaged_archive_is_one_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "fsdd.tar.gz").write_bytes(raw)
    with pytest.raises(RequestError, match=r"fsdd\.tar\.gz is damaged") as failure:
        read_spoken_digits([tmp_path / "fsdd.tar.gz"])
    assert "\n" not in str(failure.value)


def test_damaged_recording_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is damaged"):
        read_spoken_digits(archive(tmp_path, **{"7_theo_3": b"no sound"}))


def test_archive_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there are no sequences"):
        read_spoken_digits(archive(tmp_path))


# Pen digits


def test_pen_digits_have_the_published_sizes(real_data: Path) -> None:
    data = loaded("pendigits", real_data)
    of_splits = sizes(data)
    digits, offsets = np.array([of_splits["train"], of_splits["validation"]]).sum(0)
    assert (digits, offsets + digits) == (7494, 304216)
    assert (of_splits["test"][0], sum(of_splits["test"])) == (3498, 138578)


def test_pen_digits_have_unit_deviation_within_strokes(real_data: Path) -> None:
    """8.35 and 8.55 points of the tablet in the file for training, as counted apart."""
    data = loaded("pendigits", real_data)
    inside = []
    for split in ("train", "validation"):
        for x in frames(data, split):
            inside.append(x[np.append(True, x[:-1, 2] == 0)])
    std = np.concatenate(inside)[:, :2].std(0) * PEN_UNIT
    assert std == pytest.approx([8.351, 8.551], abs=0.02)


def test_every_pen_digit_ends_with_the_pen_lifted(real_data: Path) -> None:
    data = loaded("pendigits", real_data)
    last = data.x[np.arange(len(data.x)), data.arrays["length"] - 1, 2]
    assert set(last) == {1.0}
    assert set(np.unique(data.x[..., 2])) == {0.0, 1.0}


def test_three_quarters_of_the_pen_digits_have_one_stroke(real_data: Path) -> None:
    strokes = loaded("pendigits", real_data).x[..., 2].sum(1)
    assert (strokes.min(), strokes.max()) == (1, 4)
    assert (strokes == 1).mean() == pytest.approx(0.76, abs=0.005)


def test_offsets_lead_along_the_published_path(real_data: Path) -> None:
    data = loaded("pendigits", real_data)
    path = np.array([267, 333]) + (data.x[0, :5, :2] * PEN_UNIT).cumsum(0)
    expected = [[267, 336], [267, 339], [266, 342], [264, 344], [262, 346]]
    assert path == pytest.approx(np.array(expected), abs=1e-3)
    assert data.arrays["label"][0] == 8


UNIPEN = """.INCLUDE dene.doc
.SEGMENT DIGIT 0 ? "{label}"
.COMMENT {label} {writer}  224
.PEN_DOWN
 10 20
 27 20
.PEN_UP
.DT 100
.PEN_DOWN
 27 37
 10 37
.PEN_UP
"""


def unipen(tmp_path: Path, *texts: str) -> list[Path]:
    paths = [tmp_path / f"pendigits.{n}" for n in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def test_pen_is_lifted_after_the_last_point_of_a_stroke(tmp_path: Path) -> None:
    text = UNIPEN.format(label=3, writer=1)
    data = read_pen_digits(unipen(tmp_path, text, text))
    assert data.x[0].tolist() == [[2, 0, 1], [0, 2, 0], [-2, 0, 1]]


def test_writers_from_25_on_are_held_out(tmp_path: Path) -> None:
    trained = "".join(UNIPEN.format(label=writer % 10, writer=writer) for writer in (24, 25, 30))
    data = read_pen_digits(unipen(tmp_path, trained, UNIPEN.format(label=9, writer=31)))
    assert {split: rows.tolist() for split, rows in data.splits.items()} == {
        "train": [0],
        "validation": [1, 2],
        "test": [3],
    }
    assert data.arrays["label"].tolist() == [4, 5, 0, 9]


MALFORMED = {
    "text for a point": (" 10 20\n", " 10 a\n", "line 5: cannot read '10 a'"),
    "three numbers": (" 10 20\n", " 10 20 30\n", "line 5: cannot read '10 20 30'"),
    "no stroke": (".PEN_DOWN\n", "", "line 4: cannot read '10 20'"),
    "no label": ('"3"', '"?"', "line 2: cannot read"),
    "no digit": (".SEGMENT DIGIT", ".SEGMENT WORD", "holds no digits"),
}


@pytest.mark.parametrize(("old", "new", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_line_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = UNIPEN.format(label=3, writer=1)
    with pytest.raises(RequestError, match=message) as failure:
        read_pen_digits(unipen(tmp_path, text, text.replace(old, new)))
    assert "pendigits.1" in str(failure.value)
