"""Publish trained models on the Hugging Face Hub, each with its card and its results.

    python training/publish.py --models bilma-* --org ORG --results results --dry_run trees
    python training/publish.py --models bilma-* --org ORG --results results --tag v1.0

A folder of pretrain.py becomes ORG/bilma-REGION, one of finetune.py ORG/bilma-REGION-emoji; `results` is what
evaluate_family.py wrote about these models. Everything is checked before anything is pushed. Then each repository
gets one commit and the tag, and stands in the organization's collection "BILMA". What the Hub has already is not sent
again: a run that broke off is finished by the same command. Log in with `hf auth login`, or set HF_TOKEN. The exit
status is 1 if a repository failed, 2 if nothing was pushed because the input is wrong.
"""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.utils import HFValidationError, validate_repo_id

from training.common.arguments import option, parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.markdown import markdown_table
from training.evaluation.results import read_results
from training.publishing.checks import check_opening, check_tree
from training.publishing.hub import OF_COLLECTION, Outcome, check_login, collect, push
from training.publishing.publication import Publication, open_publication
from training.publishing.tree import build_tree, check_dry_run, write_dry_run


@dataclass(kw_only=True)
class PublishArguments:
    org: str = field(metadata={"help": "organization or user of the Hub"})
    results: str = field(metadata={"help": "output folder of evaluate_family.py, where these models are compared"})
    models: list[str] = field(default_factory=list, metadata={"help": "folders of pretrain.py and finetune.py"})
    dry_run: str | None = option(None, "write the trees into this folder, and push nothing")
    tag: str | None = option(None, "tag of the commits, such as v1.0; the cards pin it")
    private: bool = option(False, "create private repositories and a private collection")


def main() -> None:
    args = parse_arguments(PublishArguments, __doc__.splitlines()[0])
    publications = open_publications(args)
    results = read_results(Path(args.results))
    api = HfApi(token=get_token())
    if args.dry_run:
        check_dry_run(Path(args.dry_run), [publication.name for publication in publications])
    else:
        check_login(api)
    with TemporaryDirectory() as folder:
        trees = [Path(folder) / publication.name for publication in publications]
        prepare(publications, trees, args, results)
        if args.dry_run:
            for written in write_dry_run(Path(args.dry_run), trees):
                print(written)
            return
        outcomes = publish(api, publications, trees, args)
    print(table(publications, outcomes))
    if any(outcome.failed for outcome in outcomes):
        sys.exit(1)


def open_publications(args: PublishArguments) -> list[Publication]:
    """What is to be published, a repository only once.

    Raises:
        InputError: if there is nothing, a folder is no model, or a name is not one of the Hub.
    """
    if not args.models:
        raise InputError("give --models: folders of pretrain.py and finetune.py")
    publications = [open_publication(Path(folder), args.org, args.tag) for folder in args.models]
    for publication in publications:
        with as_input_error(HFValidationError):
            validate_repo_id(publication.repo_id)
    if args.tag and not re.fullmatch(r"\w+([.-]\w+)*", args.tag):
        raise InputError(f"--tag {args.tag}: give letters and digits, with points or hyphens in between, such as v1.0")
    if args.tag == "main":
        raise InputError("--tag main: that is the branch; give a name of its own, such as v1.0")
    for repo_id, times in Counter(publication.repo_id for publication in publications).items():
        if times > 1:
            folders = [str(one.folder) for one in publications if one.repo_id == repo_id]
            raise InputError(f"{' and '.join(folders)} are both {repo_id}: give one of them")
    return publications


def prepare(
    publications: Sequence[Publication],
    trees: Sequence[Path],
    args: PublishArguments,
    results: dict[str, dict[str, Any]],
) -> None:
    """Build every tree and check it.

    Raises:
        InputError: for the first thing that is wrong.
    """
    for publication, tree in zip(publications, trees, strict=True):
        build_tree(publication, Path(args.results), results, tree)
        check_tree(tree, publication)
    check_opening(list(zip(trees, publications, strict=True)), results)
    say(f"checked: {', '.join(publication.name for publication in publications)}")
    if not args.tag:
        say("no --tag: the cards show COMMIT where they would pin one, also where an earlier publication had a tag")


def publish(
    api: HfApi, publications: Sequence[Publication], trees: Sequence[Path], args: PublishArguments
) -> list[Outcome]:
    """Push every tree, then gather what is on the Hub in the collection; a failure does not stop the others."""
    outcomes = []
    for publication, tree in zip(publications, trees, strict=True):
        try:
            outcomes.append(push(api, publication.repo_id, tree, private=args.private, tag=args.tag, say=say))
        except InputError as error:
            outcomes.append(Outcome(publication.repo_id, None, f"FAILED: {error}", failed=True))
    there = [outcome.name for outcome in outcomes if not outcome.failed]
    if there:
        try:
            outcomes.append(collect(api, args.org, there, args.private))
        except InputError as error:
            outcomes.append(Outcome(OF_COLLECTION, None, f"FAILED: {error}", failed=True))
    return outcomes


def say(text: str) -> None:
    print(text, flush=True)


def table(publications: Sequence[Publication], outcomes: Sequence[Outcome]) -> str:
    regions = {publication.repo_id: publication.region.code for publication in publications}
    return markdown_table(
        ["region", "repo", "commit", "what changed"],
        [
            [regions.get(outcome.name, "all"), outcome.name, (outcome.commit or "–")[:8], outcome.changed]
            for outcome in outcomes
        ],
    )


if __name__ == "__main__":
    run(main)
