import errno
import os

import numpy as np
import pytest
from PIL import Image

from data import DataError
from data.augmentation import AugmentationSettings, build_augmentation
from data.pipeline import (
    checksums,
    count_steps,
    decode_images,
    even_batch_size,
    make_dataset,
    scale_batch,
)


@pytest.mark.parametrize("store", ["memory", "file", "auto"])
def test_all_images_that_can_be_read_are_decoded_in_order(ten_paths, tmp_path, store):
    calls = []
    images, failures = decode_images(
        ten_paths,
        image_size=8,
        store=store,
        store_dir=tmp_path / "cache",
        on_progress=lambda *call: calls.append(call),
    )
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert list(failures) == [5]
    assert calls[-1] == (10, 10)


def test_an_array_file_is_used_again_until_an_image_changes(ten_paths, tmp_path):
    good = ten_paths[:5]
    options = {"image_size": 8, "store": "file", "store_dir": tmp_path / "cache"}
    first, _ = decode_images(good, **options)
    assert isinstance(first, np.memmap)
    calls = []
    again, _ = decode_images(good, **options, on_progress=lambda *call: calls.append(call))
    assert calls == []
    assert (again == first).all()
    Image.new("RGB", (9, 9), (99, 0, 0)).save(good[0])
    changed, _ = decode_images(good, **options)
    assert changed[0, 0, 0, 0] == 99


@pytest.mark.parametrize("fits", [True, False])
def test_images_that_do_not_fit_into_memory_are_in_a_file(ten_paths, tmp_path, monkeypatch, fits):
    sizes = []
    monkeypatch.setattr("data.pipeline.fits_in_memory", lambda size: sizes.append(size) or fits)
    images, _ = decode_images(
        ten_paths[:5], image_size=8, store="auto", store_dir=tmp_path / "cache"
    )
    assert isinstance(images, np.memmap) is not fits
    assert sizes == [images.nbytes]


def test_interrupted_decoding_leaves_nothing_behind(ten_paths, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_images(
            ten_paths, image_size=8, store="file", store_dir=tmp_path / "c", on_progress=interrupt
        )
    assert list((tmp_path / "c").iterdir()) == []


def test_an_incomplete_array_file_is_not_used_again(ten_paths, tmp_path):
    images, failures = decode_images(
        ten_paths, image_size=8, store="file", store_dir=tmp_path / "c"
    )
    assert (len(images), list(failures)) == (9, [5])
    assert list((tmp_path / "c").iterdir()) == []


def arrays(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = np.zeros((count, 12, 12, 3), np.uint8)
    images[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return images, np.eye(count, dtype=np.float32), np.arange(count, dtype=np.float32)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space")
def test_disk_space_for_an_array_file_is_reserved_before_it_is_filled(
    ten_paths, tmp_path, monkeypatch
):
    def full(file, start, length):
        assert length > 10 * 8 * 8 * 3
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        decode_images(ten_paths, image_size=8, store="file", store_dir=tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


def test_without_augmentation_images_pass_once_in_order():
    images, targets, _ = arrays(10)
    batches = list(make_dataset(images, targets, batch_size=4))
    assert [len(batch) for batch, _ in batches] == [4, 4, 2]
    assert np.concatenate([batch for batch, _ in batches]).tolist() == images.tolist()
    assert np.concatenate([batch for _, batch in batches]).tolist() == targets.tolist()


def take(count: int, **options) -> list:
    images, targets, weights = arrays(10)
    dataset = make_dataset(
        images,
        targets,
        weights=weights,
        batch_size=4,
        augmentation=build_augmentation(
            AugmentationSettings(rotation_degrees=180, brightness=0.5), image_size=8
        ),
        **options,
    )
    return [[part.numpy() for part in batch] for batch in dataset.take(count)]


def test_images_keep_their_labels_and_each_epoch_has_its_own_order():
    batches = take(4)
    for images, targets, weights in batches:
        assert images.shape == (4, 8, 8, 3)
        assert images.dtype == np.float32
        assert targets.argmax(axis=1).tolist() == weights.tolist()
    first, second = ([int(w) for b in half for w in b[2]] for half in (batches[:2], batches[2:]))
    assert len(set(first)) == len(set(second)) == 8
    assert first != second


def test_training_batches_repeat_exactly_with_the_seed():
    first, again, other = take(6, seed=5), take(6, seed=5), take(6, seed=6)
    for batch, same in zip(first, again, strict=True):
        for part, same_part in zip(batch, same, strict=True):
            assert (part == same_part).all()
    assert any((a[2] != b[2]).any() for a, b in zip(first, other, strict=True))


def test_a_resumed_training_gets_the_batches_of_an_uninterrupted_one():
    whole, resumed = take(6, seed=5), take(2, seed=5, first_epoch=2)
    for batch, same in zip(whole[4:], resumed, strict=True):
        for part, same_part in zip(batch, same, strict=True):
            assert (part == same_part).all()


def test_fewer_images_than_a_batch_still_train():
    images, targets, _ = arrays(3)
    dataset = make_dataset(
        images,
        targets,
        batch_size=8,
        augmentation=build_augmentation(AugmentationSettings(), image_size=12),
    )
    batch, _ = next(iter(dataset))
    assert batch.shape == (3, 12, 12, 3)


def test_images_are_scaled_down_without_shift_and_overflow():
    plain = np.full((2, 45, 45, 3), 200, np.uint8)
    assert (scale_batch(plain, 30) == np.full((2, 30, 30, 3), 200, np.uint8)).all()
    assert scale_batch(plain, 45) is plain
    # An edge keeps its position, and bicubic overshoot does not wrap around.
    halves = np.zeros((1, 40, 40, 3), np.uint8)
    halves[:, :, 20:] = 255
    scaled = scale_batch(halves, 20)
    assert (scaled[:, :, :8] == 0).all()
    assert (scaled[:, :, 12:] == 255).all()


def test_checksums_differ_between_images():
    images, _, _ = arrays(3)
    assert len(set(checksums(images))) == 3
    assert checksums(images[::2]) == checksums(images)[::2]


def test_training_has_full_batches_only_but_at_least_one():
    assert [count_steps(count, 4) for count in (1, 4, 7, 8)] == [1, 1, 1, 2]


def test_every_validation_batch_serves_all_devices():
    assert even_batch_size(1504, batch_size=32, devices=1) == 32
    assert even_batch_size(20, batch_size=32, devices=1) == 20
    assert even_batch_size(1504, batch_size=32, devices=2) == 32
    # 17 = 16 + 1 would leave one device without images; 14 + 3 does not.
    assert even_batch_size(17, batch_size=16, devices=2) == 14
    for count in range(32, 400):
        size = even_batch_size(count, batch_size=32, devices=4)
        assert size % 4 == 0
        for images in (size, count % size or size):
            per_device = -(-images // 4)
            assert images - 3 * per_device >= 1
    with pytest.raises(DataError, match="3 validation images cannot be divided evenly among 4"):
        even_batch_size(3, batch_size=32, devices=4)
