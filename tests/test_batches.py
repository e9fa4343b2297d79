from pathlib import Path

from data.batches import check_images, iterate_batches


def test_batches_are_in_order_and_name_files_that_cannot_be_read(ten_paths):
    batches = list(iterate_batches(ten_paths, image_size=8, batch_size=4))
    assert [indices for indices, _, _ in batches] == [[0, 1, 2, 3], [4, 6, 7], [8, 9]]
    assert [images[:, 0, 0, 0].tolist() for _, images, _ in batches] == [
        [0, 1, 2, 3],
        [4, 6, 7],
        [8, 9],
    ]
    assert [list(failures) for _, _, failures in batches] == [[], [5], []]
    assert "5.png" in batches[1][2][5]


def test_files_that_are_not_images_are_found_by_their_headers(ten_paths):
    Path(ten_paths[7]).write_bytes(b"")
    failures = check_images(ten_paths)
    assert list(failures) == [5, 7]
    assert failures[7].endswith("7.png: the file is empty; copy it again")


def test_a_batch_of_broken_files_is_empty(ten_paths):
    indices, images, failures = next(iterate_batches(ten_paths[5:6], image_size=8, batch_size=4))
    assert indices == []
    assert images.shape == (0, 8, 8, 3)
    assert list(failures) == [0]
