"""Streams of Parquet files: every text once an epoch, any step at any time, in any number of processes."""

from collections import Counter
from contextlib import suppress
from itertools import pairwise

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator

from training.common.errors import InputError
from training.pretraining.streamed_steps import StreamedSteps, count_together, readers
from training.texts import parquet_stream as streaming
from training.texts.batches import IGNORED
from training.texts.corpus import Corpus
from training.texts.files import find_files
from training.texts.parquet_stream import HeldOutTexts, ParquetStream
from training.texts.splits import is_validation, text_hash

TEXTS = 500


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW_ROWS", 60)


@pytest.fixture
def words(tokenizer):
    """Whole words, so that a text is as many tokens as it has words."""
    return sorted(word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 3)


@pytest.fixture
def folder(tmp_path, words):
    """Four files with row groups of 7, 40, 41 and 500 rows; every text is another one."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, size=4 + number % 9)) for number in range(TEXTS)]
    assert len(set(texts)) == TEXTS
    for number, (part, rows) in enumerate(zip(np.array_split(texts, 4), (7, 40, 41, 500), strict=True)):
        write(tmp_path / "corpus" / f"{number}.parquet", list(part), rows)
    return tmp_path / "corpus"


def write(path, texts, row_group_size=10):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": texts, "id": range(len(texts))}), path, row_group_size=row_group_size)


def stream_of(folder) -> ParquetStream:
    return ParquetStream(Corpus(files=find_files([folder])))


def everything(hashes):
    return np.ones(len(hashes), bool)


def steps(folder, tokenizer, is_for_training=everything, **options) -> StreamedSteps:
    defaults = {"texts_per_step": 48, "tokens_per_micro_batch": 10_000, "max_length": 40, "lanes": 4}
    return StreamedSteps(stream_of(folder), is_for_training, tokenizer, **{**defaults, **options})


def masked_texts(batch) -> list[tuple]:
    """Each text of a batch as its masked ids and its labels; packed rows are taken apart."""
    found = []
    for micro in batch.micro_batches:
        rows = (micro[name].tolist() for name in ("input_ids", "labels", "position_ids"))
        for ids, labels, positions in zip(*rows, strict=True):
            starts = [place for place, position in enumerate(positions) if position == 0] + [len(ids)]
            parts = [(tuple(ids[a:b]), tuple(labels[a:b])) for a, b in pairwise(starts)]
            found += [part for part in parts if part[0][0] != 0]  # not [PAD]
    return found


def originals(batch) -> list[tuple[int, ...]]:
    return [
        tuple(i if label == IGNORED else label for i, label in zip(*text, strict=True)) for text in masked_texts(batch)
    ]


def all_ids(folder, tokenizer) -> Counter:
    return Counter(map(tuple, tokenizer(list(Corpus(files=find_files([folder]))))["input_ids"]))


@pytest.mark.parametrize("lanes", [1, 4, 7])
def test_an_epoch_holds_every_text_once_in_an_order_of_its_own(folder, tokenizer, lanes):
    run = steps(folder, tokenizer, lanes=lanes)
    assert run.steps_per_epoch == 11
    epochs = [[originals(run[epoch * 11 + step]) for step in range(11)] for epoch in range(2)]
    for epoch in epochs:
        assert Counter(text for step in epoch for text in step) == all_ids(folder, tokenizer)
        assert all(abs(len(step) - TEXTS / 11) <= lanes for step in epoch)
    assert set(epochs[0][0]) != set(epochs[1][0])


def test_texts_of_a_file_are_spread_over_the_epoch(folder, tokenizer):
    run = steps(folder, tokenizer)
    first_file = set(all_ids(folder / "3.parquet", tokenizer))  # one row group
    shares = [np.mean([text in first_file for text in originals(run[step])]) for step in range(11)]
    assert max(shares) < 1
    assert sum(share > 0 for share in shares) > 5


@pytest.mark.parametrize("start", [0, 5, 10, 17])
def test_a_run_taken_up_in_the_middle_sees_what_an_unbroken_one_does(folder, tokenizer, start):
    unbroken = steps(folder, tokenizer)
    passed = [unbroken[step] for step in range(22)][start:]
    resumed = steps(folder, tokenizer)
    for step, batch in enumerate(passed, start):
        again = resumed[step]
        for micro, other in zip(batch.micro_batches, again.micro_batches, strict=True):
            assert all(torch.equal(micro[name], other[name]) for name in micro)
        assert (batch.texts, batch.tokens, batch.scored_tokens) == (again.texts, again.tokens, again.scored_tokens)


@pytest.mark.parametrize("num_processes", [2, 3, 4, 6])
def test_any_number_of_processes_shares_a_step_with_the_same_masks(folder, tokenizer, num_processes):
    whole = steps(folder, tokenizer)
    shares = [
        steps(folder, tokenizer, process=process, num_processes=num_processes) for process in range(num_processes)
    ]
    for step in (0, 7, 12):
        batches = [share[step] for share in shares]
        texts = [text for batch in batches for text in masked_texts(batch) if batch.texts]
        assert sorted(texts) == sorted(masked_texts(whole[step]))
        assert sum(batch.scored_tokens for batch in batches) == whole[step].scored_tokens > 0
        assert sum(batch.tokens for batch in batches) == whole[step].tokens


def test_a_process_reads_its_own_lanes_only():
    assert [readers(lane, 4, 2) for lane in range(4)] == [[0], [0], [1], [1]]
    assert [readers(lane, 4, 8) for lane in range(4)] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for lanes in range(1, 9):
        for processes in range(1, 20):
            assigned = [process for lane in range(lanes) for process in readers(lane, lanes, processes)]
            assert set(assigned) == set(range(processes)) or processes > lanes or len(set(assigned)) == processes
            assert all(readers(lane, lanes, processes) for lane in range(lanes))


def test_at_most_a_window_a_lane_is_in_memory(folder, tokenizer, monkeypatch):
    read, most = ParquetStream.read, 0

    def counted(self, order, window):
        nonlocal most
        texts = read(self, order, window)
        others = [lane.kept[1] for lane in run.own_lanes.values() if lane.kept]
        most = max(most, len(texts) + sum(map(len, others)))
        return texts

    monkeypatch.setattr(ParquetStream, "read", counted)
    for number in range(4):
        write(folder / f"{number}.parquet", [f"texto {number} {row}" for row in range(1000)])
    run = steps(folder, tokenizer, lanes=2)
    for step in range(run.steps_per_epoch):
        run[step]
    assert 0 < most <= 2 * (60 + 10)


def test_held_out_texts_are_left_out_of_their_steps(folder, tokenizer):
    def none_held_out(hashes):
        return ~is_validation(hashes, 0.3)

    run = steps(folder, tokenizer, none_held_out)
    seen = Counter(text for step in range(run.steps_per_epoch) for text in originals(run[step]))
    kept = [text for text in Corpus(files=find_files([folder])) if not is_validation(text_hash(text), 0.3)]
    assert seen == Counter(map(tuple, tokenizer(kept)["input_ids"]))
    assert 0.6 * TEXTS < len(kept) < 0.8 * TEXTS


def test_a_step_of_held_out_texts_alone_scores_nothing(folder, tokenizer):
    batch = steps(folder, tokenizer, lambda hashes: np.zeros(len(hashes), bool))[0]
    (micro,) = batch.micro_batches
    assert (batch.texts, batch.tokens, batch.scored_tokens) == (0, 0, 0)
    assert (micro["labels"] == IGNORED).all()


def test_validation_texts_are_gathered_once_and_are_the_same_for_every_run(folder):
    texts = list(HeldOutTexts.of(stream_of(folder), 0.3, 20))
    assert len(set(texts)) == 20
    assert all(is_validation(text_hash(text), 0.3) for text in texts)
    assert list(HeldOutTexts.of(stream_of(folder), 0.3, 20)) == texts
    fingerprints = {HeldOutTexts.of(stream_of(folder), *cut).fingerprint for cut in ((0.3, 20), (0.3, 21), (0.2, 20))}
    assert len(fingerprints) == 3


def write_bytes(path, texts):
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, pa.binary()).view(pa.string())}), path, row_group_size=50)


def test_rows_without_a_text_are_left_out_and_counted(tmp_path, tokenizer):
    path = tmp_path / "corpus" / "a.parquet"
    write_bytes(path, [b"hola", None, b"  ", b"\xff\xfe", *[b"adios amigo"] * 96])
    run = steps(path.parent, tokenizer, lanes=1, texts_per_step=100)
    assert sorted(originals(run[0])) == sorted(map(tuple, tokenizer(["hola", *["adios amigo"] * 96])["input_ids"]))
    assert run.stream.corpus.report.summary() == "left out: 2 empty, 1 not decodable"


def test_a_file_in_another_encoding_is_refused_by_name(folder, tokenizer):
    """However few of all texts are in it."""
    write_bytes(folder / "4.parquet", ["qué más".encode("latin-1")] * 3 + [b"hola"] * 97)
    run = steps(folder, tokenizer)
    with pytest.raises(InputError, match=r"4.parquet: 3 of 100 texts are not Unicode: they seem to be latin-1"):
        for step in range(run.steps_per_epoch):
            run[step]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()])
def test_columns_of_other_kinds_of_strings(tmp_path, tokenizer, kind):
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"text": pa.array(["hola", "adios"]).cast(kind)}), tmp_path / "corpus" / "a.parquet")
    assert steps(tmp_path / "corpus", tokenizer, lanes=1)[0].texts == 2


def test_padded_rows_have_a_text_each_and_a_mask(folder, tokenizer):
    padded, packed = steps(folder, tokenizer, packed=False)[3], steps(folder, tokenizer)[3]
    (micro,) = padded.micro_batches
    assert set(micro) == {"input_ids", "attention_mask", "labels"}
    assert len(micro["input_ids"]) == padded.texts == packed.texts
    assert int(micro["attention_mask"].sum()) == padded.tokens == packed.tokens
    assert padded.scored_tokens == packed.scored_tokens


def test_counts_of_one_process_are_those_of_the_step(folder, tokenizer):
    batch = steps(folder, tokenizer)[0]
    together = count_together(Accelerator(cpu=True), batch)
    assert together.counts_whole_step and not batch.counts_whole_step
    assert (together.texts, together.tokens, together.scored_tokens) == (
        batch.texts,
        batch.tokens,
        batch.scored_tokens,
    )


def test_a_changed_file_has_another_fingerprint(folder):
    before = dict(stream_of(folder).sources)
    assert dict(stream_of(folder).sources) == before
    texts = pq.read_table(folder / "2.parquet")["text"].to_pylist()
    write(folder / "2.parquet", [texts[0].upper(), *texts[1:]], 41)
    after = dict(stream_of(folder).sources)
    assert [name for name in before if before[name] != after[name]] == ["2.parquet"]


def test_a_file_that_changes_during_the_run_is_named(folder, tokenizer):
    run = steps(folder, tokenizer)
    for number in range(4):
        write(folder / f"{number}.parquet", ["otro"] * 5)
    with pytest.raises(InputError, match="parquet: changed during the run"):
        run[0]


def test_wrong_files_are_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="a.parquet: not a readable Parquet file"):
        stream_of(tmp_path)
    write(tmp_path / "a.parquet", [])
    with pytest.raises(InputError, match="no row in these"):
        stream_of(tmp_path)
    with pytest.raises(InputError, match="no column 'tweet'; there are: text, id"):
        ParquetStream(Corpus(files=find_files([tmp_path]), text_column="tweet"))
    (tmp_path / "b.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"b.jsonl: --streaming reads Parquet files only"):
        stream_of(tmp_path)
    with pytest.raises(InputError, match="org/tweets"):
        ParquetStream(Corpus(dataset_name="org/tweets"))


def test_a_footer_with_a_negative_number_of_rows_is_damaged(tmp_path):
    path = tmp_path / "corpus" / "a.parquet"
    write(path, ["hola"])
    content = path.read_bytes()
    for place in range(len(content)):  # Thrift writes 1 as 2, and -1 as 1
        if content[place] == 2:
            path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
            with suppress(ValueError, OSError):
                if pq.read_metadata(path).row_group(0).num_rows == -1:
                    break
    else:
        pytest.fail("no byte is the number of rows")
    with pytest.raises(InputError, match="a.parquet: damaged: a row group has -1 rows"):
        stream_of(tmp_path / "corpus")


def test_a_dataset_in_the_layout_of_the_hub(tmp_path, folder, tokenizer):
    """The files of its training split alone, as `datasets` finds them; here in a local folder."""
    dataset = tmp_path / "tweets"
    for number in range(4):
        write(dataset / f"train-0000{number}-of-00004.parquet", [f"hola {number}"])
    write(dataset / "test-00000-of-00001.parquet", ["nunca"])
    stream = ParquetStream(Corpus(dataset_name=str(dataset)))
    assert (len(stream), stream.report.shards) == (4, 4)


def test_files_of_another_file_system(folder, monkeypatch):
    """As those of the Hub are read: by fsspec, from an address."""
    memory = fsspec.filesystem("memory")
    memory.put(str(folder / "1.parquet"), "/shards/1.parquet")
    monkeypatch.setattr(streaming, "find_shards", lambda corpus: ["memory://shards/1.parquet"])
    try:
        remote = ParquetStream(Corpus(dataset_name="org/tweets"))
        monkeypatch.undo()
        local = stream_of(folder / "1.parquet")
        assert remote.sources == local.sources
        windows = (remote.windows((0, 0))[0], local.windows((0, 0))[0])
        assert remote.read((0, 0), windows[0]).equals(local.read((0, 0), windows[1]))
    finally:
        memory.rm("/shards", recursive=True)
