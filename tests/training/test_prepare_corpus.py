"""A corpus of dumps, by the script itself: what is left out, what is found again, and what an interruption costs."""

import errno
import json
import os
import random
import resource
from pathlib import Path

import dill
import pyarrow.parquet as pq
import pytest

from tests.training.conftest import run_main
from training import prepare_corpus
from training.common.errors import InputError
from training.common.locks import only_run_in
from training.corpus_preparation import reading
from training.corpus_preparation.report import TIMES
from training.texts.corpus import Corpus
from training.texts.files import find_files
from training.texts.parquet_stream import ParquetStream
from training.texts.splits import group_hash, is_test, is_validation

SYLLABLES = "ca so ri ta men do pa le cho ña lu ve go ter mi ción que bla sur jo".split()  # noqa: SIM905
PLANTED = 8  # near-copies within a dump, and as many in the other one


def tweet(number: int, text: str, **fields) -> dict:
    return {"full_text": text, "user": {"id_str": str(number % 40)}, "source": "Web", **fields}


def spanish(number: int) -> str:
    """Return a text of invented words, which shares little with that of another number."""
    draw = random.Random(number)
    words = ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(12)]
    return f"yo no sé por qué {' '.join(words)} está así"


@pytest.fixture(scope="module")
def dumps(tmp_path_factory) -> Path:
    """Two dumps with one text to leave out for each reason, and planted copies."""
    folder = tmp_path_factory.mktemp("dumps")
    for region, first in (("ar", 0), ("mx", 1000)):
        records = [tweet(number, spanish(number)) for number in range(first, first + 100)]
        records += [tweet(first, spanish(first)), tweet(1, spanish(first + 1).upper())]
        near = range(first + 10, first + 10 + PLANTED)
        records += [tweet(number, spanish(number).replace("está así", "sigue así")) for number in near]
        records += [tweet(9, "RT @ana: hola"), tweet(9, "hola", retweeted_status={"id": 1})]
        records += [
            tweet(9, "I'm at the park https://t.co/x"),
            tweet(9, "Amanecer", source="<a href='x'>Instagram</a>"),
        ]
        records += [tweet(9, "I really don't know what they are talking about"), tweet(9, "  ")]
        records += [{"delete": {"status": {"id": 1}}}]
        if region == "mx":  # copies of the other region's texts
            records += [tweet(7, spanish(number).replace("está así", "va así")) for number in range(50, 50 + PLANTED)]
        lines = [json.dumps(record) for record in records] + ['{"full_text": "cor']
        (folder / f"tweets-{region}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def prepare(dumps: Path, output: Path, *more: object, workers: int = 1) -> Path:
    return run_main(prepare_corpus, *more, input=dumps, output_dir=output, workers=workers)


@pytest.fixture(scope="module")
def corpus(dumps, tmp_path_factory) -> Path:
    return prepare(dumps, tmp_path_factory.mktemp("corpus") / "out", "--anonymise")


def rows(corpus: Path) -> list[dict]:
    return [row for file in sorted(corpus.rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_every_text_is_written_or_counted_with_its_reason(corpus):
    counts = json.loads((corpus / "counts.json").read_text())
    left_out = {step["step"]: step["left_out"] for step in counts["steps"]}
    reasons = {"empty": 2, "notices of the Twitter API": 2, reading.UNREADABLE: 2}
    assert left_out["read"] == reasons
    assert left_out["retweets"] == {"retweet": 4}
    assert left_out["automatic posts"] == {"posted by a program": 2, "text of an automatic post": 2}
    assert left_out["language"] == {"another language": 2}
    assert left_out["exact duplicates"] == {"exact duplicates": 4}
    assert counts["read"] == counts["written"] + sum(sum(reasons.values()) for reasons in left_out.values())
    assert counts["written"] == len(rows(corpus))


def test_planted_near_duplicates_are_found_within_and_across_regions(corpus):
    texts = {row["text"] for row in rows(corpus)}
    planted = [(spanish(number), "sigue así") for first in (10, 1010) for number in range(first, first + PLANTED)]
    planted += [(spanish(number), "va así") for number in range(50, 50 + PLANTED)]
    both = sum({text, text.replace("está así", end)} <= texts for text, end in planted)
    assert both <= 1  # MinHash finds a pair with 85 % in common in 99 of 100 cases
    alone = [spanish(number) for number in [*range(60, 100), *range(1060, 1100)]]
    assert all(text in texts for text in alone)


def test_within_regions_leaves_copies_of_another_region(dumps, tmp_path):
    corpus = prepare(dumps, tmp_path / "out", "--within_regions")
    mexican = {row["text"] for row in rows(corpus) if row["region"] == "mx"}
    assert all(spanish(number).replace("está así", "va así") in mexican for number in range(50, 50 + PLANTED))


def test_exact_alone_and_keep(dumps, tmp_path):
    near = {
        way: json.loads((prepare(dumps, tmp_path / way, "--duplicates", way) / "counts.json").read_text())["written"]
        for way in ("exact", "keep")
    }
    assert near["keep"] == near["exact"] + 4


def test_authors_are_on_one_side_of_the_split_and_folders_say_which(corpus):
    for file in corpus.rglob("*.parquet"):
        for row in pq.read_table(file).to_pylist():
            assert [row["region"], row["split"]] == list(file.relative_to(corpus).parts[:2])
            side = {True: "validation"}.get(is_validation(row["author_hash"], 0.05), "train")
            assert row["split"] == ("test" if is_test(row["author_hash"], 0.05) else side)
    assert {row["author_hash"] for row in rows(corpus)} <= {group_hash(str(number)) for number in range(40)}


def test_the_shards_are_what_streaming_reads(corpus):
    stream = ParquetStream(Corpus(find_files([corpus / "mx" / "train"])))
    counts = json.loads((corpus / "counts.json").read_text())
    assert len(stream) == counts["corpus"]["mx"]["train"]


def contents(corpus: Path) -> dict[str, bytes]:
    files = [path for path in corpus.rglob("*") if path.is_file() and path.name != TIMES]
    return {str(path.relative_to(corpus)): path.read_bytes() for path in files}


def test_a_preparation_that_broke_off_continues_with_the_shards_that_are_missing(dumps, corpus, tmp_path, monkeypatch):
    read: list[str] = []

    def breaking(path, *settings):
        read.append(path.name)
        for number, record in enumerate(reading_records(path, *settings)):
            if path.name == "tweets-mx.jsonl" and number == 50 and read.count(path.name) == 1:
                raise KeyboardInterrupt
            yield record

    reading_records = reading.read_records
    monkeypatch.setattr(reading, "read_records", breaking)
    with pytest.raises(KeyboardInterrupt) as interruption:
        prepare(dumps, tmp_path / "out", "--anonymise")
    assert interruption.value.__notes__ == ["continue with the same command and --resume"]
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="is unfinished: continue with --resume"):
        prepare(dumps, tmp_path / "out", "--anonymise")
    with pytest.raises(InputError, match="cannot resume, anonymise changed"):
        prepare(dumps, tmp_path / "out", "--resume")
    resumed = prepare(dumps, tmp_path / "out", "--anonymise", "--resume")
    assert read == ["tweets-ar.jsonl", "tweets-mx.jsonl", "tweets-mx.jsonl"]
    assert contents(resumed) == contents(corpus)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_two_workers_write_what_one_does(dumps, corpus, tmp_path):
    assert contents(prepare(dumps, tmp_path / "out", "--anonymise", workers=2)) == contents(corpus)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--language", "xx"), "--language xx is not known"),
        (("--workers", "0"), "--workers 0 is not 1 or more"),
        (("--executor", "ray"), "--executor ray needs Ray"),
        (("--region", "all"), "--region: 'all' is not a two-letter country code, such as mx"),
        (("--executor", "slurm"), "--executor slurm needs --slurm_partition and --slurm_time"),
        (("--validation_fraction", "0.6", "--test_fraction", "0.4"), "leave no text for training"),
        (("--region", "mx", "--region_column", "x"), "give one of --region, --region_column and --region_rules"),
        (("--resume", "--overwrite"), "give --resume or --overwrite, not both"),
        (("--text_column", "texto"), "record 1: no column 'texto'; there are: full_text, user, source"),
    ],
)
def test_one_line_for_what_is_wrong(refusal, dumps, tmp_path, more, message):
    assert message in refusal(prepare_corpus, lambda: prepare(dumps, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_no_text_left_is_an_error_with_its_reasons(refusal, dumps, tmp_path):
    flags = ("--region_column", "place.country_code", "--duplicates", "keep")
    message = refusal(prepare_corpus, lambda: prepare(dumps, tmp_path / "out", *flags))
    assert "no text is left of 244 records" in message
    assert " no region" in message


def test_a_folder_with_files_is_not_written_to(refusal, dumps, corpus):
    before = contents(corpus)
    assert "exists already" in refusal(prepare_corpus, lambda: prepare(dumps, corpus, "--overwrite"))
    assert contents(corpus) == before


def test_a_second_run_into_one_folder_is_refused_and_changes_nothing(refusal, dumps, tmp_path):
    with only_run_in(tmp_path / "out"):
        for more in ((), ("--resume",), ("--overwrite",)):
            message = refusal(prepare_corpus, lambda more=more: prepare(dumps, tmp_path / "out", *more))
            assert message.startswith(f"{tmp_path / 'out'}: another run writes there (process {os.getpid()} on ")
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]


def test_a_full_disk_is_one_line_that_names_the_path_and_resume_goes_on(refusal, dumps, corpus, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def prepare_on_full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # smaller than a shard or a log
        try:
            prepare(dumps, tmp_path / "out", "--anonymise")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    message = refusal(prepare_corpus, prepare_on_full_disk)
    assert message.startswith(f"{tmp_path / '.out.preparing'} could not be written ([Errno {errno.EFBIG}]")
    assert "--resume" in message
    assert [path.name for path in tmp_path.iterdir()] == [".out.preparing"]
    assert contents(prepare(dumps, tmp_path / "out", "--anonymise", "--resume")) == contents(corpus)


def test_slurm_jobs_wait_for_one_another_and_do_the_same_work(dumps, corpus, tmp_path, monkeypatch):
    """`sbatch` notes its arguments; the jobs that it was given are then run here, one after the other."""
    commands = tmp_path / "commands"
    commands.mkdir()
    answers = {"sbatch": f'echo "$@" >> {tmp_path}/jobs; echo Job $(wc -l < {tmp_path}/jobs)', "scontrol": "echo here"}
    for name, answer in answers.items():
        (commands / name).write_text(f"#!/bin/sh\n{answer}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    flags = ("--anonymise", "--executor", "slurm", "--slurm_partition", "cpu", "--slurm_time", "1:00:00")
    prepare(dumps, tmp_path / "out", *flags)
    jobs = [line.split()[:2] for line in (tmp_path / "jobs").read_text().splitlines()]
    arrays = [number for number, job in enumerate(jobs, start=1) if job[0].startswith("--export")]
    assert [job[1] for job in jobs if job[0].startswith("--export")][1:] == [
        f"--dependency=afterok:{before}" for before in arrays[:-1]
    ]
    logs = tmp_path / ".out.preparing" / "logs"
    monkeypatch.setenv("SLURM_NODELIST", "here")
    for stage in ("clean", "exact", "signatures", "pairs", "clusters", "write", "finish"):
        pickled = (logs / stage / "executor.pik").read_bytes()
        for rank in range(dill.loads(pickled).tasks):
            monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(rank))
            dill.loads(pickled).run()  # as each job does, in a process of its own
    assert contents(tmp_path / "out") == contents(corpus)


def test_an_output_among_the_dumps_is_refused(refusal, dumps):
    message = refusal(prepare_corpus, lambda: prepare(dumps, dumps / "out"))
    assert "is in the folder of the dumps" in message and not (dumps / "out").exists()


def test_a_corpus_without_near_duplicates(tmp_path):
    """Of a step with nothing to do datatrove records no times."""
    (tmp_path / "mx.jsonl").write_text("".join(json.dumps({"text": spanish(100 * n)}) + "\n" for n in range(1, 4)))
    corpus = prepare(tmp_path / "mx.jsonl", tmp_path / "out")
    counts = json.loads((corpus / "counts.json").read_text())
    assert counts["without_author"] == counts["written"] == len(rows(corpus)) > 0
