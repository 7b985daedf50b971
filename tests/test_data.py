"""vgglib.data: the set is upstream's; every fault, really caused here, is repaired or refused by name."""

import ast
import gzip
import hashlib
import http.server
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from vgglib import data, image_set
from vgglib.data import CLASSES, FILES, DataError, ImageSet, check, fashion_mnist, prepare

REPOSITORY = Path(__file__).resolve().parent.parent
SHIPPED = REPOSITORY / "data" / "FashionMNIST" / "raw"
LABELS = "t10k-labels-idx1-ubyte"  # the smallest file, so the cheapest to damage
IMAGES = "train-images-idx3-ubyte"
HTML = b"\n <!DOCTYPE html><html><title>Sign in to the network</title></html>"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test reaches beyond this machine, and none through a proxy."""
    monkeypatch.setattr(data, "MIRRORS", [])
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("VGGLIB_DATA", raising=False)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """A data folder with the shipped .gz files and their extractions, made once."""
    root = tmp_path_factory.mktemp("pristine")
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(SHIPPED / f"{name}.gz", raw / f"{name}.gz")
    prepare(root)
    return root


@pytest.fixture
def root(pristine, tmp_path, monkeypatch):
    """A data folder of this test's own, as a clone's: hard links to the pristine files, never to be written through."""
    monkeypatch.setattr(data, "ROOT", tmp_path)
    return grow(tmp_path / "data", pristine)


@pytest.fixture
def labels_alone(root, monkeypatch):
    """The same where the test labels are the only file there is, to save hashing 55 MB of images."""
    monkeypatch.setattr(data, "FILES", {LABELS: FILES[LABELS]})
    return root


def grow(root, pristine):
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (pristine / "FashionMNIST" / "raw").iterdir():
        os.link(file, raw / file.name)
    return root


def path_of(root, name):
    return root / "FashionMNIST" / "raw" / name


def put(root, name, content):
    """A new file in place of the link; None removes it."""
    path_of(root, name).unlink(missing_ok=True)
    if content is not None:
        path_of(root, name).write_bytes(content)


def good(name):
    with gzip.open(SHIPPED / f"{name}.gz") as file:
        return file.read()


def is_good(root, name):
    return (
        hashlib.sha256(path_of(root, name).read_bytes()).hexdigest()
        == FILES[name.removesuffix(".gz")][1 if name.endswith(".gz") else 3]
    )


def leftovers(root):
    return [file.name for file in path_of(root, "").iterdir() if file.name.startswith(".")]


def in_child(work, **options):
    """What work() returned or raised, as text, in a forked process of its own; work may not compute with torch."""
    return said_by(*forked(work, **options))


def forked(work, **options):
    """Start such a process, (its number, where it says that). From one thread: filelock refuses two forks at once."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            if options.get("uid"):
                os.setgid(options["uid"])
                os.setuid(options["uid"])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    said = repr(work())
                except Exception as error:
                    said = f"{type(error).__name__}: {error}"
            os.write(writer, "\n".join([said, *(str(warning.message) for warning in caught)]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    return child, reader


def said_by(child, reader):
    with open(reader) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


# What is in the set


def test_shipped_files_are_upstreams():
    md5s = {}
    torchvision = pytest.importorskip("torchvision")
    for name, md5 in torchvision.datasets.FashionMNIST.resources:
        md5s[name.removesuffix(".gz")] = md5
    assert list(md5s) == list(FILES)
    readme = (REPOSITORY / "data" / "README.md").read_text(encoding="utf-8")
    for name, (packed_size, packed_digest, size, digest) in FILES.items():
        packed = (SHIPPED / f"{name}.gz").read_bytes()
        assert (len(packed), hashlib.sha256(packed).hexdigest()) == (packed_size, packed_digest)
        assert hashlib.md5(packed).hexdigest() == md5s[name]
        content = gzip.decompress(packed)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)
        for fact in (f"`{name}.gz`", f"{packed_size:,}", f"`{md5s[name]}`", f"`{packed_digest}`", f"{size:,}"):
            assert fact in readme
        assert f"`{digest}`" in readme


def test_checksum_file_says_the_same():
    lines = (SHIPPED.parent / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{FILES[name][1]}  raw/{name}.gz" for name in FILES]


def test_sizes_types_classes_and_balance(pristine):
    train, test = fashion_mnist(pristine)
    for part, count in [(train, 60_000), (test, 10_000)]:
        assert len(part) == count
        assert part.images.shape == (count, 1, 28, 28)
        assert part.images.dtype == torch.uint8
        assert part.labels.shape == (count,)
        assert part.labels.dtype == torch.int64
        assert part.labels.bincount().tolist() == [count // 10] * 10
        assert part.classes == CLASSES
    assert repr(train) == "ImageSet(60000 images of 1x28x28, 10 classes, cpu)"
    assert fashion_mnist(pristine, device="cpu")[0].images.is_contiguous()


def test_mean_and_std(pristine):
    train, _ = fashion_mnist(pristine)
    mean, std = train.mean_and_std()
    assert (round(mean, 4), round(std, 4)) == (0.2860, 0.3530)
    few = train[:500]
    pixels = few.images.double() / 255
    assert few.mean_and_std() == pytest.approx((pixels.mean().item(), pixels.std(unbiased=False).item()), abs=1e-12)
    assert all(type(value) is float for value in few.mean_and_std())


def test_mean_and_std_of_colours_are_those_of_each_channel():
    """Section 2.1 subtracts the mean RGB value, not one grey."""
    images = torch.randint(0, 256, (20, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 1] //= 2
    images[:, 2] = 37
    pixels = images.double().transpose(0, 1).flatten(1) / 255
    mean, std = ImageSet(images, torch.arange(20) % 10).mean_and_std()
    assert (mean.shape, mean.dtype) == ((3,), torch.float32)
    assert torch.equal(mean, pixels.mean(dim=1).float())
    assert torch.allclose(std, pixels.std(dim=1, unbiased=False).float(), atol=1e-7)


def test_torchvision_extracts_the_shipped_files_offline_and_reads_the_same(pristine, tmp_path, monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")

    def no_network(*_, **__):
        raise OSError("a test went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for name in FILES:
        path_of(tmp_path, "").mkdir(parents=True, exist_ok=True)
        os.link(path_of(pristine, f"{name}.gz"), path_of(tmp_path, f"{name}.gz"))
    for ours, is_train in zip(fashion_mnist(pristine), (True, False), strict=True):
        theirs = datasets.FashionMNIST(tmp_path, train=is_train, download=True)
        assert torch.equal(ours.images[:, 0], theirs.data)
        assert torch.equal(ours.labels, theirs.targets)
        assert list(ours.classes) == theirs.classes


def test_d2l_reads_what_prepare_extracted(root):
    notebooks = root.parent / "notebooks"
    notebooks.mkdir()
    code = """
import socket
def no_network(*_, **__): raise OSError("d2l went to the network")
socket.getaddrinfo = no_network
from d2l import torch as d2l
d2l.get_dataloader_workers = lambda: 1  # four processes say no more than one
train, test = d2l.load_data_fashion_mnist(4, resize=32)
X, y = next(iter(test))
assert X.shape == (4, 1, 32, 32) and y.tolist() == [9, 2, 1, 1], (X.shape, y)
assert len(train.dataset) == 60_000
print("fine")
"""
    prepare(root)
    environment = os.environ | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=notebooks, env=environment, capture_output=True, text=True
    )
    assert run.stdout == "fine\n", run.stderr


# Where the data lie


def test_default_root_is_the_repositorys_from_anywhere_and_without_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    assert data._folder(None) == SHIPPED
    monkeypatch.setenv("VGGLIB_DATA", "")
    assert data._folder(None) == SHIPPED
    monkeypatch.setenv("VGGLIB_DATA", "elsewhere")
    assert data._folder(None) == Path("elsewhere/FashionMNIST/raw")
    assert data._folder("here") == Path("here/FashionMNIST/raw")


def test_environment_variable_is_obeyed(labels_alone, monkeypatch):
    root = labels_alone
    monkeypatch.setenv("VGGLIB_DATA", str(root))
    put(root, LABELS, None)
    prepare()
    assert is_good(root, LABELS)


def test_spaces_other_alphabets_and_links_in_the_path(pristine, tmp_path):
    real = grow(tmp_path / "Daten für 数据 und mehr", pristine)
    put(real, LABELS, None)
    link = tmp_path / "a link"
    link.symlink_to(real, target_is_directory=True)
    prepare(str(link))
    assert is_good(real, LABELS)
    assert [ok for _, ok, _ in check(link)] == [True] * 4


# Repairs

FAULTS = {
    "is empty": b"",
    "is a web page, not data": HTML,
    "is damaged: 5000 bytes of data, expected 10008": good(LABELS)[:5000],
    "is damaged: over 10008 bytes of data": good(LABELS) + b"\1",
    "is damaged (sha256 ": bytes(range(1, 251)) * 40,
    "it says 100 labels, expected 10000": good(LABELS)[:4] + (100).to_bytes(4) + good(LABELS)[8:108],
    "it holds the label 77, expected 0 to 9": good(LABELS)[:8] + bytes([77]) * 10_000,
    "perhaps MNIST: the file names are the same": good(LABELS)[:8] + bytes([7, 2, 1, 0]) * 2_500,
    "perhaps MNIST": good(LABELS)[:-1] + bytes([good(LABELS)[-1] ^ 1]),  # one bit, and no label out of range
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_extraction_is_restored_from_its_gz(labels_alone, fault):
    root = labels_alone
    put(root, LABELS, FAULTS[fault])
    [(_, ok, sentence)] = check(root)
    assert (ok, fault in sentence, "make data" in sentence) == (False, True, True)
    with pytest.warns(UserWarning, match=LABELS) as caught:
        assert data._content(path_of(root, ""), LABELS) == good(LABELS)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert fault in message
    assert "\n" not in message
    assert is_good(root, LABELS)
    assert path_of(root, LABELS).stat().st_mode & 0o777 == 0o644
    assert leftovers(root) == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("extraction", ["absent", "as faulty"])
def test_damaged_gz_without_a_good_extraction_is_refused_and_kept(labels_alone, fault, extraction):
    root = labels_alone
    packed = gzip.compress(FAULTS[fault]) if fault != "is empty" else b""
    put(root, f"{LABELS}.gz", packed)
    put(root, LABELS, FAULTS[fault] if extraction == "as faulty" else None)
    with pytest.raises(DataError) as refusal:
        prepare(root)
    message = str(refusal.value)
    assert fault in message
    assert f"{path_of(root, LABELS)}.gz" in message
    assert 'git checkout -- data", then run "make data"' in message
    assert path_of(root, f"{LABELS}.gz").read_bytes() == packed
    [(_, ok, sentence)] = check(root)
    assert (ok, fault in sentence) == (False, True)


@pytest.mark.parametrize("packed", [HTML, b"\x1f\x8b" + bytes(range(256)), b"PK\3\4 no gzip at all"])
def test_gz_that_is_none_is_refused(labels_alone, packed):
    root = labels_alone
    put(root, LABELS, None)
    put(root, f"{LABELS}.gz", packed)
    with pytest.raises(DataError, match="is a web page, not data" if packed == HTML else r"is damaged \(sha256 "):
        prepare(root)


def test_truncated_gz_is_refused_with_both_amounts(labels_alone):
    root = labels_alone
    put(root, LABELS, None)
    put(root, f"{LABELS}.gz", (SHIPPED / f"{LABELS}.gz").read_bytes()[:3000])
    with pytest.raises(DataError, match=r"is damaged: \d+ bytes of data, expected 10008"):
        prepare(root)


def test_one_flipped_bit_among_the_training_images_never_reaches_a_tensor(root):
    path = path_of(root, IMAGES)
    content = bytearray(path.read_bytes())
    content[23_456_789] ^= 1
    put(root, IMAGES, content)
    with pytest.warns(UserWarning, match=r"is damaged.*a verified copy has replaced it"):
        train, _ = fashion_mnist(root)
    assert hashlib.sha256(train.images.numpy().tobytes()).digest() == hashlib.sha256(good(IMAGES)[16:]).digest()
    assert is_good(root, IMAGES)


def test_another_set_of_60000_images_in_its_place_is_refused(root):
    other = good(IMAGES)[:16] + bytes(47_040_000)
    put(root, IMAGES, other)
    put(root, f"{IMAGES}.gz", gzip.compress(other, 1))
    with pytest.raises(DataError, match=r"train-images.*is not Fashion-MNIST \(perhaps MNIST"):
        fashion_mnist(root)


def test_bytes_are_verified_in_every_call(root):
    fashion_mnist(root)
    put(root, f"{LABELS}.gz", None)
    content = bytearray(good(LABELS))
    content[5000] = 0 if content[5000] else 1
    stamp = path_of(root, LABELS).stat()
    put(root, LABELS, content)
    os.utime(path_of(root, LABELS), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time
    with pytest.raises(DataError):
        fashion_mnist(root)


def test_data_come_from_the_bytes_that_were_hashed(root, monkeypatch):
    """Each file is opened once a load: there is no second reading that could differ from the verified one."""
    opened = []

    def counting(path, *arguments):
        opened.append(Path(path).name)
        return open(path, *arguments)

    monkeypatch.setattr(data, "open", counting, raising=False)
    fashion_mnist(root)
    assert sorted(opened) == sorted(FILES)


def test_good_extraction_is_enough(labels_alone):
    root = labels_alone
    for fault in (b"", HTML, None):
        put(root, f"{LABELS}.gz", fault)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert data._content(path_of(root, ""), LABELS) == good(LABELS)
        [(_, ok, sentence)] = check(root)
        assert ok
        assert 'restore it with "git checkout -- data"' in sentence


@pytest.mark.parametrize("cut", [1, 8, 9])
def test_gz_cut_in_the_checksum_at_its_end_is_not_good(labels_alone, cut):
    """Its content is whole, and no other program could read it."""
    root, whole = labels_alone, path_of(labels_alone, f"{LABELS}.gz").read_bytes()
    put(root, f"{LABELS}.gz", whole[:-cut])
    assert "t10k-labels-idx1-ubyte.gz is damaged" in check(root)[0][2]
    put(root, LABELS, None)
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged"):
        prepare(root)


def test_the_remedy_for_another_folder_is_not_gits(labels_alone, monkeypatch, tmp_path):
    """git and make know the clone's own data only."""
    root, own = labels_alone, tmp_path / "clone"
    monkeypatch.setattr(data, "ROOT", own)
    copied = f"{LABELS}.gz is missing; copy {path_of(own / 'data', LABELS)}.gz there"
    put(root, f"{LABELS}.gz", None)
    assert copied in check(root)[0][2]
    put(root, LABELS, None)
    with pytest.raises(DataError) as refusal:
        prepare(root)
    for sentence in (str(refusal.value), check(root)[0][2]):
        assert copied in sentence
        assert not any(word in sentence for word in ("git", "make data"))


def test_another_folder_is_prepared_by_its_name(labels_alone, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "ROOT", tmp_path / "clone")
    put(labels_alone, LABELS, None)
    command = f"python -c \"from vgglib.data import prepare; prepare('{labels_alone}')\""
    assert f"verified in its .gz; {command} extracts it" in check(labels_alone)[0][2]
    monkeypatch.setenv("VGGLIB_DATA", str(labels_alone))
    assert '"make data" extracts it' in check()[0][2]
    put(labels_alone, LABELS, HTML)
    assert f"delete it and run {command}" not in check()[0][2]


def test_gz_of_other_bytes_but_the_right_content_is_welcome(labels_alone):
    root = labels_alone
    put(root, LABELS, None)
    put(root, f"{LABELS}.gz", gzip.compress(good(LABELS), 1))
    prepare(root)
    assert is_good(root, LABELS)


def test_gz_that_inflates_to_64_megabytes_costs_no_memory(root):
    put(root, "train-labels-idx1-ubyte", None)
    put(root, "train-labels-idx1-ubyte.gz", gzip.compress(bytes(1 << 26)))
    tracemalloc.start()
    with pytest.raises(DataError, match="train-labels"):
        data._content(path_of(root, ""), "train-labels-idx1-ubyte")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_processed_files_are_never_read_and_are_reported(root):
    processed = root / "FashionMNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)), processed / name)
    train, test = fashion_mnist(root)
    assert (len(train), len(test)) == (60_000, 10_000)
    name, ok, sentence = check(root)[-1]
    assert (name, ok, str(processed) in sentence) == ("processed", False, True)


@pytest.mark.parametrize("name", [LABELS, f"{LABELS}.gz"])
def test_folder_in_a_files_place_is_refused(labels_alone, name):
    root = labels_alone
    put(root, LABELS, None)
    put(root, name, None)
    path_of(root, name).mkdir()
    with pytest.raises(DataError, match="is a folder or a device, not a file; move it away") as refusal:
        prepare(root)
    assert str(path_of(root, name)) in str(refusal.value)
    assert path_of(root, name).is_dir()
    assert [ok for _, ok, _ in check(root)] == [False]


def test_pipe_in_a_files_place_does_not_hang(labels_alone):
    root = labels_alone
    put(root, LABELS, None)
    os.mkfifo(path_of(root, LABELS))
    with pytest.raises(DataError, match="not a file"):
        prepare(root)


# Folders that take no files, full disks, several processes, kills


def nobody():
    """A user id that may not write into this user's folders; root drops to it, others keep theirs."""
    return 65534 if os.getuid() == 0 else None


@pytest.fixture
def locked(pristine, monkeypatch):
    """A data folder that another user may read and nobody may write; not under pytest's own, which is private."""
    monkeypatch.setattr(data, "FILES", {LABELS: FILES[LABELS]})
    base = Path(tempfile.mkdtemp(prefix="vgglib-locked-"))
    root = grow(base / "data", pristine)
    folders = [path_of(root, ""), root / "FashionMNIST", root, base]

    def lock():
        for file in path_of(root, "").iterdir():
            file.chmod(0o644)
        for folder in folders:
            folder.chmod(0o555)
        return root

    yield root, lock
    for folder in folders:
        folder.chmod(0o755)
    shutil.rmtree(base)


def test_read_only_folder_is_read_from_its_gz_without_a_word(locked):
    root, lock = locked
    put(root, LABELS, None)
    lock()
    said = in_child(lambda: data._content(path_of(root, ""), LABELS) == good(LABELS), uid=nobody())
    assert said == "True"
    said = in_child(lambda: prepare(root), uid=nobody())
    assert said.startswith("None\n")
    assert "torchvision and d2l cannot" in said
    assert LABELS not in os.listdir(path_of(root, ""))


def test_read_only_folder_with_a_damaged_extraction_warns_and_works(locked):
    root, lock = locked
    put(root, LABELS, HTML)
    lock()
    said = in_child(lambda: data._content(path_of(root, ""), LABELS) == good(LABELS), uid=nobody())
    assert said.startswith("True\n")
    assert "is a web page, not data and was not replaced (Permission denied)" in said


def test_read_only_folder_without_data_says_so_and_fetches_nothing(locked, monkeypatch):
    root, lock = locked
    put(root, LABELS, None)
    put(root, f"{LABELS}.gz", None)
    monkeypatch.setattr(data, "MIRRORS", ["http://127.0.0.1:9/"])
    lock()
    said = in_child(lambda: prepare(root), uid=nobody())
    assert said.startswith("DataError: ")
    assert f"{LABELS}.gz is missing and {path_of(root, '')} is read-only; set VGGLIB_DATA" in said
    assert "127.0.0.1" not in said


def test_unreadable_file_is_named(locked):
    root, lock = locked
    put(root, LABELS, None)
    put(root, f"{LABELS}.gz", gzip.compress(good(LABELS)))
    lock()
    path_of(root, f"{LABELS}.gz").chmod(0)
    said = in_child(lambda: prepare(root), uid=nobody())
    assert "DataError" in said
    assert f"{LABELS}.gz cannot be read (Permission denied)" in said


def test_full_disk_leaves_good_data_and_no_rubbish(labels_alone):
    root = labels_alone

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # the kernel refuses every byte beyond
        return data._content(path_of(root, ""), LABELS) == good(LABELS)

    put(root, LABELS, None)
    said = in_child(fill)
    assert said.startswith("True\n")
    assert "is missing and was not replaced (File too large); good data are in use" in said
    assert said.count("\n") == 1
    assert leftovers(root) == []
    assert not path_of(root, LABELS).exists()


def test_processes_that_extract_at_once_all_succeed(root):
    names = [name for name in FILES if name != IMAGES]  # 8 MB say as much as 55
    for name in names:
        put(root, name, None)
    start = time.monotonic() + 0.3

    def work():
        time.sleep(max(0, start - time.monotonic()))
        prepare(root)
        return [is_good(root, name) for name in FILES]

    children = [forked(work) for _ in range(4)]
    assert [said_by(*child) for child in children] == [repr([True] * 4)] * 4
    assert leftovers(root) == []


def test_kill_in_the_middle_of_an_extraction_does_no_harm(labels_alone, monkeypatch):
    root = labels_alone
    put(root, LABELS, None)
    monkeypatch.setattr(os, "fsync", lambda handle: os.kill(os.getpid(), signal.SIGKILL))
    assert in_child(lambda: prepare(root)) == ""
    monkeypatch.undo()
    [rubbish] = leftovers(root)
    assert not path_of(root, LABELS).exists()
    prepare(root)
    assert is_good(root, LABELS)
    assert leftovers(root) == [rubbish]  # perhaps of a process that still works
    put(root, LABELS, None)
    os.utime(path_of(root, rubbish), (0, 0))
    stuck = path_of(root, f".{LABELS}.stuck.part")  # an old one that cannot be removed is no reason to stop
    stuck.mkdir()
    os.utime(stuck, (0, 0))
    prepare(root)
    assert is_good(root, LABELS)
    assert leftovers(root) == [stuck.name]


def test_extraction_is_left_alone_when_it_is_good(labels_alone):
    root = labels_alone
    before = path_of(root, LABELS).stat()
    prepare(root)
    assert path_of(root, LABELS).stat().st_ino == before.st_ino
    assert path_of(root, LABELS).stat().st_mtime_ns == before.st_mtime_ns


# Mirrors


@pytest.fixture
def mirror(monkeypatch):
    """A web server on this machine; its behaviour is set by serve(answer)."""
    asked, stop = [], threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.server.answer(self)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stop = stop
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(data, "MIRRORS", [address])

    def serve(answer):
        server.answer = answer
        return address, asked

    yield serve
    stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


def ok(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def upstream(request):
    ok(request, (SHIPPED / request.path.lstrip("/")).read_bytes())


def says_404(request):
    request.send_error(404)


def stalls(request):
    request.send_response(200)
    request.send_header("Content-Length", "5148")
    request.end_headers()
    request.wfile.write(b"\x1f\x8b")
    request.server.stop.wait(20)


def trickles(request):
    with open(SHIPPED / f"{LABELS}.gz", "rb") as file:
        request.send_response(200)
        request.end_headers()
        while not request.server.stop.wait(0.05) and (byte := file.read(1)):
            try:
                request.wfile.write(byte)
            except OSError:
                return


def never_answers(request):
    request.server.stop.wait(20)


def without_labels(root):
    put(root, LABELS, None)
    put(root, f"{LABELS}.gz", None)


def test_good_mirror_heals(labels_alone, mirror):
    root = labels_alone
    _, asked = mirror(upstream)
    without_labels(root)
    prepare(root)
    assert asked == [f"/{LABELS}.gz"]
    assert is_good(root, LABELS)
    assert is_good(root, f"{LABELS}.gz")
    assert path_of(root, f"{LABELS}.gz").stat().st_mode & 0o777 == 0o644
    prepare(root)
    assert len(asked) == 1


def test_good_mirror_replaces_a_damaged_gz(labels_alone, mirror):
    root = labels_alone
    mirror(upstream)
    without_labels(root)
    put(root, f"{LABELS}.gz", HTML)
    with pytest.warns(UserWarning, match="is a web page, not data; a verified copy has replaced it"):
        prepare(root)
    assert is_good(root, f"{LABELS}.gz")


def test_good_mirror_fills_an_empty_place(tmp_path, mirror, monkeypatch):
    mirror(upstream)
    assert data._content(tmp_path / "new" / "FashionMNIST" / "raw", LABELS) == good(LABELS)
    assert is_good(tmp_path / "new", LABELS)


def test_second_mirror_is_asked_when_the_first_fails(labels_alone, mirror, monkeypatch):
    root = labels_alone
    address, _ = mirror(upstream)
    monkeypatch.setattr(data, "MIRRORS", ["http://127.0.0.1:9/", address])
    without_labels(root)
    prepare(root)
    assert is_good(root, LABELS)


ANSWERS = {
    "what came is a web page, not data": lambda request: ok(request, HTML),
    "HTTP Error 404": says_404,
    "what came is empty": lambda request: ok(request, b""),
    "what came is damaged: over 10008 bytes of data": lambda request: ok(
        request, gzip.compress(bytes(good(LABELS)) * 2)
    ),
    "what came is damaged or is not Fashion-MNIST (perhaps MNIST": lambda request: ok(
        request, gzip.compress(FAULTS["perhaps MNIST"])
    ),
}


@pytest.mark.parametrize("reason", ANSWERS)
def test_mirror_with_anything_else_is_refused(labels_alone, mirror, reason):
    root = labels_alone
    address, _ = mirror(ANSWERS[reason])
    without_labels(root)
    with pytest.raises(DataError) as refusal:
        prepare(root)
    message = str(refusal.value)
    assert f"{LABELS}.gz is missing; put the file there by hand, or restore it with" in message
    assert f"Tried {address}{LABELS}.gz: {reason}" in message
    assert not path_of(root, f"{LABELS}.gz").exists()
    assert leftovers(root) == []


@pytest.mark.parametrize("answer", [stalls, trickles, never_answers])
def test_slow_mirror_is_given_up(labels_alone, mirror, monkeypatch, answer):
    root = labels_alone
    mirror(answer)
    monkeypatch.setattr(data, "PATIENCE", 0.4)
    without_labels(root)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"timed out|within 0.4 seconds"):
        prepare(root)
    assert time.monotonic() - start < 3


def test_mirror_that_sends_without_end_is_cut_off(labels_alone, mirror):
    root = labels_alone
    sent = []

    def endless(request):
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):
            while not request.server.stop.is_set():
                request.wfile.write(bytes(65_536))
                sent.append(1)

    mirror(endless)
    without_labels(root)
    with pytest.raises(DataError, match="what came is damaged"):
        prepare(root)
    assert len(sent) < 1000  # the connection's buffers, not the whole stream


def test_no_network_is_said_at_once(labels_alone, monkeypatch):
    root = labels_alone
    monkeypatch.setattr(data, "MIRRORS", ["http://127.0.0.1:9/", "http://no-such-host.invalid/"])
    without_labels(root)
    start = time.monotonic()
    with pytest.raises(DataError) as refusal:
        prepare(root)
    assert time.monotonic() - start < 10
    assert "127.0.0.1:9" in str(refusal.value)
    assert "no-such-host.invalid" in str(refusal.value)


def test_name_server_that_never_answers_is_given_up(labels_alone, monkeypatch):
    root = labels_alone
    monkeypatch.setattr(data, "MIRRORS", ["http://example.invalid/"])
    monkeypatch.setattr(data, "PATIENCE", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    without_labels(root)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"within 0.3 seconds"):
        prepare(root)
    assert time.monotonic() - start < 2


def test_patience_and_mirrors_as_shipped():
    source = ast.parse(Path(data.__file__).read_text(encoding="utf-8"))
    named = [node for node in source.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]
    values = {node.targets[0].id: node.value for node in named}
    assert ast.literal_eval(values["PATIENCE"]) * len(ast.literal_eval(values["MIRRORS"])) <= 10
    datasets = pytest.importorskip("torchvision.datasets")
    assert datasets.FashionMNIST.mirrors[0] in ast.literal_eval(values["MIRRORS"])


# The doctor's list


def test_check_of_a_good_folder(pristine):
    assert check(pristine) == [(name, True, "verified") for name in FILES]


def test_check_before_extraction_changes_nothing(labels_alone):
    root = labels_alone
    put(root, LABELS, None)
    before = sorted(path_of(root, "").iterdir())
    name, ok, sentence = check(root)[-1]
    assert (name, ok) == (LABELS, True)
    assert '"make data" extracts it' in sentence
    assert sorted(path_of(root, "").iterdir()) == before


@pytest.mark.parametrize("bad_root", ["/no/such/folder", 3, b"bytes", "nul\0byte"])
def test_check_never_raises(bad_root, mirror):
    _, asked = mirror(upstream)
    rows = check(bad_root)
    assert [row[0] for row in rows] == list(FILES)
    assert not any(ok for _, ok, _ in rows)
    assert asked == []


# ImageSet


def small(n=20, classes=CLASSES):
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).repeat(1, 3, 4, 5)
    return ImageSet(images, torch.arange(n) % len(classes), classes)


IMAGES_20, LABELS_20 = small().images, small().labels
BAD_SETS = {
    r"images must be torch.uint8 of shape \(N, C, H, W\), got torch.float32": (IMAGES_20.float(), LABELS_20),
    r"images must be .* got torch.uint8 of shape \(20, 4, 5\)": (IMAGES_20[:, 0], LABELS_20),
    "images must be a torch tensor, got ndarray": (IMAGES_20.numpy(), LABELS_20),
    r"labels must be torch.int64 of shape \(N,\), got torch.int32": (IMAGES_20, LABELS_20.int()),
    r"labels must be .* got torch.int64 of shape \(20, 1\)": (IMAGES_20, LABELS_20[:, None]),
    "labels must be a torch tensor, got list": (IMAGES_20, LABELS_20.tolist()),
    "every image needs one label, got 20 images, 19 labels": (IMAGES_20, LABELS_20[:-1]),
    "labels must be 0 to 9, got 77": (IMAGES_20, LABELS_20.where(LABELS_20 != 3, 77)),
    "labels must be 0 to 9, got 10": (IMAGES_20, LABELS_20 + 1),
    "labels must be 0 to 9, got -1": (IMAGES_20, LABELS_20 - 1),
    r"images must not be empty, got shape \(0, 3, 4, 5\)": (IMAGES_20[:0], LABELS_20[:0]),
    r"images must not be empty, got shape \(20, 3, 0, 5\)": (IMAGES_20[:, :, :0], LABELS_20),
    "expected one device, got images on cpu, labels on meta": (IMAGES_20, LABELS_20.to("meta")),
    r"classes must be a list of names, got 'abcd': write \['abcd'\]": (IMAGES_20, LABELS_20 % 4, "abcd"),
    "classes must be a list of names, got None": (IMAGES_20, LABELS_20, None),
    "classes must be in an order, which a set has not": (IMAGES_20, LABELS_20 % 2, {"cat", "dog"}),
    "classes name 'cat' twice": (IMAGES_20, LABELS_20 % 2, ("cat", "dog", "cat")),
}


@pytest.mark.parametrize("message", BAD_SETS)
def test_set_refuses(message):
    with pytest.raises(ValueError, match=message):
        ImageSet(*BAD_SETS[message])


def test_set_of_ones_own():
    own = ImageSet(IMAGES_20, LABELS_20 % 2, ["cat", "dog"])
    assert own.classes == ("cat", "dog")
    with pytest.raises(AttributeError):
        own.images = IMAGES_20
    assert own == own
    assert repr(own) == "ImageSet(20 images of 3x4x5, 2 classes, cpu)"


def test_a_device_that_is_not_here_is_refused_in_words(pristine):
    for call in (lambda: small().to("gpu"), lambda: fashion_mnist(pristine, "gpu")):
        with pytest.raises(ValueError, match="unknown device 'gpu': take cpu, cuda"):
            call()


def test_a_position_gives_a_picture_and_its_label():
    whole = small()
    for index in (0, 7, -1, np.int64(3), torch.tensor(5)):
        image, label = whole[index]
        assert torch.equal(image, whole.images[index])
        assert (type(label), label) == (int, whole.labels[index].item())
    for beyond in (20, -21):
        with pytest.raises(IndexError, match=f"no picture {beyond} in a set of 20"):
            whole[beyond]
    assert [label for _, label in whole] == whole.labels.tolist()  # so it ends, too


def test_torchs_loader_takes_a_set_as_it_is():
    whole = small()
    batches = list(torch.utils.data.DataLoader(whole, batch_size=8))
    assert torch.equal(torch.cat([X for X, _ in batches]), whole.images)
    assert torch.equal(torch.cat([y for _, y in batches]), whole.labels)


def test_slices_share_memory_and_nothing_else_is_taken():
    whole = small()
    first = whole[:5]
    assert first.images.data_ptr() == whole.images.data_ptr()
    assert first.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(whole[3:99:4]) == 5
    for wrong in (3.0, "3", True, None, [3], torch.tensor([3, 4])):
        with pytest.raises(TypeError, match=r"slices such as \[:100\], got .*for several positions use \.subset"):
            whole[wrong]
    with pytest.raises(ValueError, match="must not be empty"):
        whole[20:]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda i: torch.tensor(i, dtype=torch.uint8)])
def test_subset(kind):
    part = small().subset(kind([7, 3, 3]))
    assert part.images[:, 0, 0, 0].tolist() == [7, 3, 3]
    assert part.labels.tolist() == [7, 3, 3]


def test_subset_by_range_mask_and_from_the_end():
    whole = small()
    assert whole.subset(range(4, 8)).labels.tolist() == [4, 5, 6, 7]
    assert whole.subset(whole.labels == 3).images[:, 0, 0, 0].tolist() == [3, 13]
    assert whole.subset([-1]).images[0, 0, 0, 0] == 19


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([], ValueError, "at least one image"),
        (torch.zeros(20, dtype=torch.bool), ValueError, "at least one image"),
        ([0.5], ValueError, "whole numbers in one row"),
        (3, ValueError, "whole numbers in one row"),
        ([[1, 2]], ValueError, "whole numbers in one row"),
        (torch.ones(19, dtype=torch.bool), ValueError, "or 20 booleans"),
        ([20], IndexError, "below 20, got 20"),
        ([-21], IndexError, "below 20, got -21"),
    ],
)
def test_subset_refuses(indices, error, message):
    with pytest.raises(error, match=message):
        small().subset(indices)


def test_split_is_disjoint_complete_and_in_order(pristine):
    train, _ = fashion_mnist(pristine)
    # the position is written into the pixels, so that the parts can be told apart
    position = torch.arange(60_000, dtype=torch.int32).view(torch.uint8).view(60_000, 1, 2, 2)
    rest, validation = ImageSet(position, train.labels).split()
    assert (len(rest), len(validation)) == (55_000, 5_000)
    found = [part.images.reshape(-1, 4).clone().view(torch.int32).flatten() for part in (rest, validation)]
    assert torch.equal(torch.cat(found).sort().values, torch.arange(60_000, dtype=torch.int32))
    for part, places in zip((rest, validation), found, strict=True):
        assert torch.equal(places, places.sort().values)
        assert torch.equal(part.labels, train.labels[places])
    assert validation.labels.bincount().min() > 400  # chance, not strata: 500 ± 21


def test_split_depends_on_its_seed_alone():
    whole = small(200)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = whole.split(50, seed=3)[1]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(whole.split(50, seed=3)[1].images, first.images)
    assert not torch.equal(whole.split(50, seed=4)[1].images, first.images)
    assert len(whole.split(199)[0]) == 1


@pytest.mark.parametrize("validation", [-1, 0, 20, 21, 0.1, "5"])
def test_split_refuses(validation):
    with pytest.raises(ValueError, match=r"validation must be a number of images from 1 to 19, got"):
        small().split(validation)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu(pristine):
    train, test = fashion_mnist(pristine, device="cuda")
    assert train.images.device.type == test.labels.device.type == "cuda"
    assert [round(value, 4) for value in train.mean_and_std()] == [0.2860, 0.3530]
    here = fashion_mnist(pristine)[0]
    for ours, theirs in zip(train.split(), here.split(), strict=True):
        assert torch.equal(ours.images.cpu(), theirs.images)
    with pytest.raises(IndexError):
        train.subset([60_000])
    with pytest.raises(ValueError, match="got 77"):
        ImageSet(train.images[:2], torch.tensor([0, 77], device="cuda"))
    assert test.to("cpu").labels.device.type == "cpu"


# The module itself


@pytest.mark.parametrize("module", [data, image_set], ids=["data", "image_set"])
def test_imports_are_torch_numpy_vgglib_and_the_standard_library(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module.split(".")[0])
    assert {"torch", "vgglib"} <= modules - set(sys.stdlib_module_names) <= {"torch", "numpy", "vgglib"}
    assert not modules & {"pickle", "shelve", "marshal", "dill"}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"torch.load", "np.load", "eval", "exec"}


# --- the derived set ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def garments():
    """Bright squares with a dark spot each, so that a place can be found."""
    images = torch.full((3000, 1, 28, 28), 200, dtype=torch.uint8)
    images[:, 0, 10:14, 10:14] = 50
    return ImageSet(images, torch.arange(3000) % 10)


def boxes(canvases):
    """The first and last row and column that is not empty, for each."""
    lit = canvases.images[:, 0] > 100
    found = []
    for line in (lit.any(dim=2), lit.any(dim=1)):
        first = line.int().argmax(dim=1)
        found += [first, first + line.sum(dim=1) - 1]
    return found


def test_garments_have_every_size_and_place_on_the_canvas(garments):
    canvases = data.on_canvas(garments, seed=3)
    assert canvases.images.shape == (3000, 1, 64, 64)
    assert torch.equal(canvases.labels, garments.labels)
    top, bottom, left, right = boxes(canvases)
    sides = bottom - top + 1
    assert torch.equal(sides, right - left + 1)
    assert sides.unique().tolist() == list(range(24, 65))
    half = ((sides < 39.5).double().mean() - 0.5).abs()  # the middle of the logarithms: sqrt(24 * 65)
    assert half < 0.05
    for first, last in ((top, bottom), (left, right)):
        small = sides < 30
        assert first[small].min() == 0
        assert last[small].max() == 63
        assert (first[small].double().mean() - (64 - sides[small]).double().mean() / 2).abs() < 1.5


def test_canvases_depend_on_the_seed_and_the_index_alone(garments):
    dice = torch.get_rng_state()
    one, again, other = (data.on_canvas(garments, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    part = data.on_canvas(garments[:50], seed=3)
    assert torch.equal(part.images, one.images[:50])
    assert torch.equal(torch.get_rng_state(), dice)


def test_canvases_are_the_same_in_every_setting_and_of_squares_alone(garments):
    expected = data.on_canvas(garments[:50]).images
    try:
        torch.set_default_dtype(torch.float64)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(data.on_canvas(garments[:50]).images, expected)
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(ValueError, match="expected square pictures, got 28 x 20"):
        data.on_canvas(ImageSet(garments.images[..., :20], garments.labels))


@pytest.mark.slow
def test_fashion_mnist_on_canvas_is_drawn_apart_for_training_and_test():
    train, test = data.fashion_mnist_on_canvas()
    plain, plain_test = fashion_mnist()
    assert (train.images.shape, test.images.shape) == ((60_000, 1, 64, 64), (10_000, 1, 64, 64))
    assert torch.equal(train.labels, plain.labels)
    assert torch.equal(test.labels, plain_test.labels)
    same = data.on_canvas(plain[:10_000], seed=1)
    assert not torch.equal(data.on_canvas(plain[:10_000], seed=0).images, same.images)
