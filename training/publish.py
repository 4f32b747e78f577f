"""Publish the family on the Hugging Face Hub: models with their cards and results, the data set, the page.

    python training/publish.py --org ORG --models models/bilma --dry_run trees
    python training/publish.py --org ORG --models models/bilma runs/bilma-mx-emoji --tag v1.0 \
        --regional_tests regional_tests --space build/space

A body with regional parts becomes ORG/bilma and, merged, ORG/bilma-ar ... ORG/bilma-ve; a folder of pretrain.py
ORG/bilma-REGION; one of finetune.py ORG/bilma-REGION-emoji. Before anything is pushed, everything is checked,
and the changes are shown for confirmation. Then each repository gets one commit and the tag, is read back and tested,
and is added to the organization's collection. After an interruption, repeat the command: files that the Hub already
has are not sent again. Log in with `hf auth login`, or set HF_TOKEN. The exit status is 1 if a repository failed, 2 if
nothing was pushed because the input is wrong, 130 after Ctrl-C.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, get_token

from training.common.arguments import option, parse_arguments
from training.common.errors import InputError, run
from training.common.locks import only_run_in
from training.common.markdown import markdown_table
from training.evaluation.results import read_results
from training.publishing import hub
from training.publishing.checks import check_dataset, check_space
from training.publishing.collection import NAME as COLLECTION
from training.publishing.collection import collect
from training.publishing.eval_results import REGIONAL_TESTS_NAME
from training.publishing.facts import MODEL_CARDS
from training.publishing.hub import Outcome, Plan, Upload
from training.publishing.preparation import prepare
from training.publishing.publication import Publication, open_publications, repository_name
from training.publishing.reading_back import read_back
from training.publishing.tree import CARD, check_dry_run, copy_folder, write_dry_run


@dataclass(kw_only=True)
class PublishArguments:
    org: str = field(metadata={"help": "organization or user of the Hub"})
    models: list[str] = field(default_factory=list, metadata={"help": "folders of pretrain.py and finetune.py"})
    results: str = option(str(MODEL_CARDS / "results"), "output folder of evaluate_family.py with these models")
    regional_tests: str | None = option(None, f"folder of the data set, published as {REGIONAL_TESTS_NAME}")
    space: str | None = option(None, "folder of the page, published as a static Space")
    dry_run: str | None = option(None, "write the trees into this folder instead of pushing them")
    tag: str | None = option(None, "tag of the commits, such as v1.0; the cards pin it")
    private: bool = option(False, "create private repositories and a private collection")
    yes: bool = option(False, "push without asking")


def main() -> None:
    args = parse_arguments(PublishArguments, __doc__.splitlines()[0])
    check_arguments(args)
    api = HfApi(token=get_token())
    if not args.dry_run:
        hub.check_login(api)
    lock: AbstractContextManager[None] = only_run_in(Path(args.dry_run)) if args.dry_run else nullcontext()
    with lock, TemporaryDirectory() as folder:
        home = Path(folder)
        publications = open_all(args, home / "merged")
        uploads = make_uploads(args, publications, home / "trees")
        if args.dry_run:
            check_dry_run(Path(args.dry_run), [upload.tree.name for upload in uploads])
            for written in write_dry_run(Path(args.dry_run), [upload.tree for upload in uploads]):
                print(written)
            return
        plans = [hub.plan(api, upload, private=args.private, tag=args.tag) for upload in uploads]
        print(plans_table(plans))
        confirm(args, plans)
        outcomes = publish(api, plans, args)
    print(outcomes_table(outcomes))
    if any(outcome.failed for outcome in outcomes):
        sys.exit(1)


def check_arguments(args: PublishArguments) -> None:
    """Check the flags by themselves.

    Raises:
        InputError: if there is nothing to publish, or the tag is not valid.
    """
    if not (args.models or args.regional_tests or args.space):
        raise InputError("give --models, folders of pretrain.py and finetune.py, or --regional_tests or --space")
    if args.tag and not re.fullmatch(r"\w+([.-]\w+)*", args.tag):
        raise InputError(f"--tag {args.tag}: give letters and digits, with points or hyphens in between, such as v1.0")
    if args.tag == "main":
        raise InputError("--tag main: this is the name of the branch: give another one, such as v1.0")


def open_all(args: PublishArguments, merged: Path) -> list[Publication]:
    """Open the models to publish.

    Raises:
        InputError: if a folder contains no model of the family, or two have the same repository.
    """
    publications = [
        publication
        for number, folder in enumerate(args.models)
        for publication in open_publications(Path(folder), args.org, args.tag, merged / str(number))
    ]
    for repo_id, times in Counter(publication.repo_id for publication in publications).items():
        if times > 1:
            folders = [str(one.trained) for one in publications if one.repo_id == repo_id]
            raise InputError(f"{' and '.join(folders)} are both {repo_id}: give one of them")
    return publications


def make_uploads(args: PublishArguments, publications: Sequence[Publication], home: Path) -> list[Upload]:
    """Build and check the tree of every repository; raise `InputError` for the first problem."""
    uploads = []
    if publications:
        trees = prepare(publications, Path(args.results), read_results(Path(args.results)), home)
        uploads = [Upload(one.repo_id, hub.MODEL, tree) for one, tree in zip(publications, trees, strict=True)]
    others = (
        (args.regional_tests, hub.DATASET, REGIONAL_TESTS_NAME, check_dataset),
        (args.space, hub.SPACE, f"{repository_name(None)}-space", check_space),
    )
    for source, kind, name, check in others:
        if source:
            copy_folder(Path(source), home / name)
            name_repository(home / name / CARD, Path(source).name, f"{args.org}/{name}")
            check(home / name)
            uploads.append(Upload(f"{args.org}/{name}", kind, home / name))
    say(f"checked: {', '.join(upload.tree.name for upload in uploads)}")
    return uploads


def name_repository(card: Path, folder: str, repo_id: str) -> None:
    """Let the code of a data set's card open the repository instead of the folder it was made from."""
    if card.is_file():
        text = card.read_text(encoding="utf-8")
        card.write_text(text.replace(f'load_dataset("{folder}"', f'load_dataset("{repo_id}"'), encoding="utf-8")


def confirm(args: PublishArguments, plans: Sequence[Plan]) -> None:
    """Ask for confirmation, unless --yes is given or nothing is new.

    Raises:
        InputError: if the answer is not yes, or there is no terminal.
    """
    if args.yes or not any(planned.changes or planned.new_tag for planned in plans):
        return
    if not sys.stdin.isatty():
        raise InputError("nothing was pushed: without a terminal to confirm, give --yes")
    if input("Push this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was pushed")


def publish(api: HfApi, plans: Sequence[Plan], args: PublishArguments) -> list[Outcome]:
    """Carry out every plan, read the results back and collect them; a failure does not stop the others."""
    outcomes, pushed, there = [], False, []
    for planned in plans:
        upload = planned.upload
        say(f"{upload.repo_id}: {planned}")
        try:
            outcomes.append(hub.push(api, planned, private=args.private, say=say))
            there.append(upload)
            pushed = pushed or bool(planned.changes)
        except InputError as error:
            outcomes.append(Outcome(upload.repo_id, None, f"FAILED: {error}", failed=True))
    try:
        wrong = read_back(api, there if pushed else [], args.private)
    except InputError as error:
        wrong = {upload.repo_id: str(error) for upload in there}
    outcomes += [Outcome(repo_id, None, f"FAILED: {reason}", failed=True) for repo_id, reason in wrong.items()]
    if there:
        try:
            outcomes.append(collect(api, args.org, there, args.private))
        except InputError as error:
            outcomes.append(Outcome(COLLECTION, None, f"FAILED: {error}", failed=True))
    return outcomes


def say(text: str) -> None:
    print(text, flush=True)


def plans_table(plans: Sequence[Plan]) -> str:
    rows = [[one.upload.repo_id, one.upload.kind, f"{one.upload.megabytes:.1f}", str(one)] for one in plans]
    return markdown_table(["repository", "kind", "MB", "to do"], rows)


def outcomes_table(outcomes: Sequence[Outcome]) -> str:
    rows = [[outcome.name, (outcome.commit or "–")[:8], outcome.changed] for outcome in outcomes]
    return markdown_table(["repository", "commit", "what changed"], rows)


if __name__ == "__main__":
    run(main)
