import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import vaelib
from vaelib import data
from vaelib.data import cave

FILES = Path(vaelib.__file__).parent / "data"


@pytest.fixture(scope="module")
def mnist():
    return data.load("mnist")


@pytest.fixture(scope="module")
def binarized():
    return data.load("binarized_mnist")


@pytest.fixture(scope="module")
def omniglot():
    return data.load("omniglot")


@pytest.fixture(scope="module")
def cave_shadows():
    return data.load("cave")


def idx_md5(array: np.ndarray) -> str:
    """md5 of the original file format: two zero bytes, type 8, the number of axes, their sizes, the values."""
    header = struct.pack(f">4B{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    return hashlib.md5(header + array.tobytes()).hexdigest()


def text_sha256(bits: np.ndarray) -> str:
    """sha256 of the original text format: 784 digits a line with single spaces between them."""
    text = np.full((len(bits), 784, 2), ord(" "), dtype=np.uint8)
    text[:, :, 0] = bits + ord("0")
    text[:, -1, 1] = ord("\n")
    return hashlib.sha256(text.data).hexdigest()


def grey(images: torch.Tensor) -> np.ndarray:
    """Back to the 256 grey levels: exact, for k / 255 * 255 is within half a level of k."""
    return images.mul(255).round().to(torch.uint8).squeeze(1).numpy()


def test_mnist_has_the_md5_of_the_original_files(mnist):
    parts = {
        "6bbc9ace898e44ae57da46a324031adb": grey(mnist.full_train.images),
        "a25bea736e30d166cdddb491f175f624": mnist.full_train.labels.numpy().astype(np.uint8),
        "2646ac647ad5339dbf082846283269ea": grey(mnist.test.images),
        "27ae3e4e09519cfbb04c329615203637": mnist.test.labels.numpy().astype(np.uint8),
    }
    for md5, array in parts.items():
        assert idx_md5(array) == md5


@pytest.mark.parametrize(
    ("part", "sha256"),
    [
        ("train", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        ("valid", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        ("test", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    ],
)
def test_binarized_mnist_has_the_sha256_of_the_original_text(binarized, part, sha256):
    bits = getattr(binarized, part).images.flatten(1).to(torch.uint8).numpy()
    assert text_sha256(bits) == sha256
    bits = bits.copy()
    bits[7, 300] ^= 1
    assert text_sha256(bits) != sha256


def test_one_changed_grey_level_is_another_md5(mnist):
    changed = grey(mnist.test.images).copy()
    changed[123, 14, 14] ^= 1
    assert idx_md5(changed) != "2646ac647ad5339dbf082846283269ea"


def test_omniglot_has_the_hashes_of_the_data_card():
    card = (FILES / "DATA_CARD.md").read_text()
    with np.load(FILES / "omniglot.npz") as arrays:
        for name in ("images", "character", "drawer", "evaluation"):
            shape = str(arrays[name].shape)
            assert f"| {name} {shape} | {hashlib.sha256(arrays[name].tobytes()).hexdigest()} |" in card


def test_data_card_tells_the_sizes_of_the_files():
    card = (FILES / "DATA_CARD.md").read_text()
    for path in FILES.glob("*.npz"):
        assert f"| `{path.name}` | {path.stat().st_size:,} |" in card


def test_the_files_are_small_and_packed_reproducibly():
    files = sorted(FILES.glob("*.npz"))
    assert [path.stem for path in files] == ["binarized_mnist", "mnist", "omniglot"]
    assert sum(path.stat().st_size for path in files) < 15e6
    for path in files:
        for member in zipfile.ZipFile(path).infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert member.compress_type == zipfile.ZIP_LZMA


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mnist", (50_000, 10_000, 10_000, 60_000)),
        ("binarized_mnist", (50_000, 10_000, 10_000, 60_000)),
        ("omniglot", (17_352, 1_928, 13_180, 19_280)),
        ("cave", (20_000, 4_000, 4_000, 24_000)),
    ],
)
def test_splits_have_their_documented_sizes_and_types(request, name, sizes):
    dataset = request.getfixturevalue({"binarized_mnist": "binarized", "cave": "cave_shadows"}.get(name, name))
    splits = (dataset.train, dataset.valid, dataset.test, dataset.full_train)
    assert tuple(len(split) for split in splits) == sizes
    for split in splits:
        assert split.images.shape == (len(split), 1, 28, 28)
        assert split.images.dtype == torch.float32
        assert split.images.min() == 0
        assert split.images.max() == 1
        assert split.latents is None if name != "cave" else split.latents.shape == (len(split), 10)
        if name == "binarized_mnist":
            assert split.labels is None
        else:
            assert split.labels.shape == (len(split),)
            assert split.labels.dtype == torch.int64


def test_train_then_valid_is_full_train(mnist, binarized):
    for dataset in (mnist, binarized):
        assert torch.equal(dataset.full_train.images[:50_000], dataset.train.images)
        assert torch.equal(dataset.full_train.images[50_000:], dataset.valid.images)
    assert torch.equal(mnist.full_train.labels[50_000:], mnist.valid.labels)


def test_binarized_test_set_is_mnist_sorted_by_class(mnist, binarized):
    # Bits are drawn with the grey level as probability: none where it is 0, always where it is 1. In MNIST's own order
    # both fail, so this also tells that the bits are unpacked in the right order.
    order = mnist.test.labels.argsort(stable=True)
    bits, levels = binarized.test.images, mnist.test.images[order]
    assert bits[levels == 0].max() == 0
    assert bits[levels == 1].min() == 1
    assert bits[mnist.test.images == 0].max() == 1


def test_omniglot_splits_by_drawer_and_by_alphabet(omniglot):
    # 964 characters of the background alphabets by 18 + 2 drawers, 659 characters of the others by 20.
    assert torch.equal(omniglot.train.labels.bincount(), torch.full((964,), 18))
    assert torch.equal(omniglot.valid.labels.bincount(), torch.full((964,), 2))
    assert torch.equal(omniglot.test.labels.unique(return_counts=True)[1], torch.full((659,), 20))
    assert omniglot.test.labels.min() == 964
    # The drawers of a character follow one another, so the last two of its twenty are held out.
    by_character = omniglot.full_train.images.unflatten(0, (964, 20))
    assert torch.equal(by_character[:, 18:].flatten(0, 1), omniglot.valid.images)
    assert torch.equal(by_character[:, :18].flatten(0, 1), omniglot.train.images)


def test_cave_carries_the_latents_that_cast_its_shadows(cave_shadows):
    for split in (cave_shadows.train, cave_shadows.valid, cave_shadows.test, cave_shadows.full_train):
        assert torch.equal(split.labels, split.latents[:, 0].long())
        assert torch.equal(split.images[-50:], cave.render(split.latents[-50:]))
    # No latents come twice: train, valid and test are different draws.
    latents = torch.cat([cave_shadows.full_train.latents, cave_shadows.test.latents])
    assert len(latents.unique(dim=0)) == 28_000


def test_a_slice_of_a_split_keeps_images_and_labels_together(mnist):
    chosen = torch.tensor([5, 3, 9])
    assert torch.equal(mnist.test[chosen].images, mnist.test.images[chosen])
    assert torch.equal(mnist.test[chosen].labels, mnist.test.labels[chosen])
    assert mnist.test[2:6].latents is None


@pytest.mark.parametrize(
    "rows", [[5, 3], range(2, 4), np.array([5, 3]), torch.arange(8) > 5, np.arange(8) > 5], ids=str
)
def test_rows_may_be_any_list_of_indices_or_mask(rows):
    split = data.Split(torch.rand(8, 1, 28, 28), torch.arange(8))
    assert split[rows].images.shape == (2, 1, 28, 28)
    assert torch.equal(split[rows].images, split.images[split[rows].labels])


@pytest.mark.parametrize("labels", [None, torch.arange(5)], ids=["plain", "labelled"])
@pytest.mark.parametrize(
    "rows",
    [
        0,
        np.int64(0),
        torch.tensor(0),
        True,
        None,
        ...,
        (0, 1),
        (slice(2), 0),
        1.5,
        "train",
        torch.ones(5, 1, 28, 28) > 0,
    ],
    ids=lambda rows: type(rows).__name__,
)
def test_a_split_has_no_rows_of_another_kind(rows, labels):
    """One image, or the pixels under a mask, would be a Split without its axes."""
    with pytest.raises(ValueError, match=r"the rows of a Split are .*: expected a slice, a mask .* split\.images\[i\]"):
        data.Split(torch.rand(5, 1, 28, 28), labels)[rows]


def test_a_loader_of_a_split_is_told_to_take_its_images():
    split = data.Split(torch.rand(5, 1, 28, 28), torch.arange(5))
    with pytest.raises(ValueError, match=r"a DataLoader takes split\.images"):
        next(iter(torch.utils.data.DataLoader(split, 2)))
    assert next(iter(torch.utils.data.DataLoader(split.images, 2))).shape == (2, 1, 28, 28)


def test_what_one_user_changes_another_does_not_get():
    data.load("omniglot").test.images.zero_()
    assert data.load("omniglot").test.images.max() == 1


def ink(x: torch.Tensor, monkeypatch) -> torch.Tensor:
    """How many of all 65,536 equally likely draws give ink, for each probability in x: (N,)."""

    def every_word(words, *bounds):
        words.view(torch.int16).copy_(torch.arange(-32_768, 32_768))
        return words

    monkeypatch.setattr(torch.Tensor, "random_", every_word)
    return torch.stack([data.binarise(value.expand(65_536)).sum() for value in x])


def test_binarise_gives_ink_with_the_probability_of_the_grey_level(monkeypatch):
    """Exactly, by going through all draws: the probability is rounded to the next multiple of 2^-16."""
    greys = torch.arange(256) / 255
    assert torch.equal(ink(greys, monkeypatch), (greys.double() * 65_536).round().float())
    tiny = torch.tensor([2.0**-17, 1.5 * 2.0**-17, 2.0**-16, 1 - 2.0**-16])
    assert torch.equal(ink(tiny, monkeypatch), torch.tensor([0.0, 1.0, 1.0, 65_535.0]))


def test_binarise_draws_anew_and_apart_for_each_pixel():
    torch.manual_seed(0)
    x = torch.full((4000, 3, 7), 0.3)  # 84,000 pixels
    first, second = data.binarise(x), data.binarise(x)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(x, torch.full_like(x, 0.3))
    n, flat = x.numel(), first.flatten()
    deviation = (n * 0.3 * 0.7) ** 0.5
    assert abs(first.sum() - 0.3 * n) < 4 * deviation
    # Two pixels that do not know of each other are both ink in 9 of 100 cases: neighbours, also of one word of 64 bits.
    for other in (second.flatten(), *(flat.roll(shift) for shift in (1, 2, 3, 4))):
        assert abs((flat * other).sum() - 0.09 * n) < 5 * (n * 0.09 * 0.91) ** 0.5


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5])
def test_binarise_takes_any_number_of_pixels(size):
    assert torch.equal(data.binarise(torch.ones(size)), torch.ones(size))
    assert torch.equal(data.binarise(torch.zeros(size)), torch.zeros(size))
    assert torch.equal(data.binarise(torch.ones(size, dtype=torch.float64)), torch.ones(size, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [1.001, -0.001, float("nan"), float("inf")])
def test_binarise_refuses_what_is_no_probability(bad, dtype):
    x = torch.full((3, 4), 0.5, dtype=dtype)
    x[1, 2] = bad
    with pytest.raises(ValueError, match=r"outside \[0, 1\] or NaN: .*divide 8-bit images by 255"):
        data.binarise(x)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.ones(3, dtype=torch.int64), "x is torch.int64: expected a floating-point tensor"),
        (torch.ones(3, dtype=torch.uint8), "divide 8-bit images by 255"),
        (torch.ones(3, dtype=torch.bool), "x is torch.bool: expected"),
        (np.ones(3, dtype=np.float32), "x is ndarray: expected a floating-point tensor; use torch.as_tensor"),
        ([0.5], "x is list: expected"),
    ],
)
def test_binarise_refuses_what_is_no_tensor_of_floats(x, says, check):
    with pytest.raises(ValueError, match=says):
        data.binarise(x, check=check)


@pytest.mark.parametrize("name", ["minst", "", "MNIST", 3, None, Path("mnist")], ids=repr)
def test_unknown_name_lists_the_known_ones(name):
    with pytest.raises(
        ValueError, match=r"no dataset called .*: expected one of binarized_mnist, cave, mnist, omniglot$"
    ):
        data.load(name)


@pytest.mark.parametrize("name", ["model.safetensors", "runs/a/best.safetensors", Path("model.safetensors")])
def test_load_of_a_model_says_what_reads_models(name):
    with pytest.raises(ValueError, match=rf"no dataset called '{name}': a model is read by load_model$"):
        data.load(name)


def test_load_of_a_file_says_what_reads_files(tmp_path):
    np.save(tmp_path / "digits.npy", np.zeros((2, 3)))
    for own in (tmp_path / "digits.npy", str(tmp_path)):
        with pytest.raises(
            ValueError, match=r"expected one of .*; a file of your own is read by vaelib.data.load_file$"
        ):
            data.load(own)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "not a zip"])
def test_damaged_file_is_one_clear_sentence(monkeypatch, tmp_path, damage):
    whole = (FILES / "omniglot.npz").read_bytes()
    damaged = {
        "missing": None,
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:1_000_000] + bytes([whole[1_000_000] ^ 1]) + whole[1_000_001:],
        "not a zip": b"version https://example.org/pointer\n" * 40,
    }[damage]
    if damaged is not None:
        (tmp_path / "omniglot.npz").write_bytes(damaged)
    monkeypatch.setattr(data.bundled.importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(OSError, match=r"omniglot\.npz is missing or damaged: reinstall"):
        data.load("omniglot")
    # The same route with the whole file loads, so it is the damage that is reported.
    (tmp_path / "omniglot.npz").write_bytes(whole)
    assert len(data.load("omniglot").test) == 13_180
