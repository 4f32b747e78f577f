"""Which stages make a family: what each script is given, in the order in which they need each other."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.common.errors import InputError
from training.engine.arguments import STABLE
from training.family.arguments import (
    ADAPTED,
    BASELINES,
    ONE_ADAPTED,
    ONE_MODEL,
    SCRATCH,
    TrainFamilyArguments,
    task_name,
)
from training.family.stages import Stage
from training.family.texts import LABEL_COLUMN, RegionTexts
from training.finetuning.baselines import METHODS
from training.texts.emoji15 import EMOJI_TASK
from training.texts.regions import ALL_REGIONS

BASE = "base"
# The flags by which baselines learn from the same texts as a classifier, and as well.
SAME_TEXTS = (
    *("task", "region", "text_column", "label_column", "test_fraction", "validation_fraction", "strict"),
    "class_weights",
)
RESULTS = "results"  # the comparison of the family's models
WAYS_RESULTS = "ways"  # that of the ways to make them


def plan(args: TrainFamilyArguments, regions: Sequence[RegionTexts]) -> list[Stage]:
    """All stages, each after those whose output it reads.

    Raises:
        InputError: for a recipe that cannot be read, and a file of a task whose name is taken.
    """
    stages = list(Plan(args, regions).stages())
    twice = [name for name, times in Counter(stage.name for stage in stages).items() if times > 1]
    if twice:
        raise InputError(f"--tasks: {twice[0]} would be made twice: rename the file of the task")
    return stages


class Plan:
    def __init__(self, args: TrainFamilyArguments, regions: Sequence[RegionTexts]):
        self.args, self.regions = args, regions
        self.home = Path(args.output_dir)
        self.files = files_of(regions)
        self.tokenizer = {"tokenizer": [self.home / "tokenizer"]}
        self.masks = {"mask_draws": args.mask_draws}
        self.shared = {"test_fraction": args.test_fraction}

    def stages(self) -> Iterator[Stage]:
        """The family with its results first, then the other ways."""
        yield self.vocabulary()
        family, *others = self.args.ways
        models = []
        for way in (family, *others):
            own = list(self.models(way))
            yield from own
            models += [stage.output_dir for stage in own if stage.output_dir.name != BASE]
            if way == family:
                yield self.comparison(RESULTS, self.masks, models=models[:], corpora=self.files)
                yield from self.emoji_stages(models)
                yield from self.task_stages(models)
        if others:
            yield self.comparison(WAYS_RESULTS, self.masks | {"own_region": True}, models=models, corpora=self.files)

    def vocabulary(self) -> Stage:
        args = self.args
        settings = {
            "vocab_size": args.vocab_size,
            "min_frequency": args.min_frequency,
            "test_fraction": args.test_fraction,
        }
        return Stage("train_tokenizer.py", self.home / "tokenizer", {"train_file": self.files}, settings)

    def models(self, way: str) -> Iterator[Stage]:
        """The pretrainings of a way; all ways read the same number of texts."""
        args = self.args
        if way == ONE_MODEL:
            yield self.whole("one-model", ALL_REGIONS, **self.regional_parts())
            return
        base = {"init_from": [self.home / BASE]}
        if way == ONE_ADAPTED:
            parts, epochs = self.regional_parts(), self.adapt_epochs(ALL_REGIONS)
            yield self.pretraining("one-adapted", ALL_REGIONS, epochs, args.adapt_recipe, base, **parts)
            return
        if way == ADAPTED:
            yield self.pretraining(BASE, ALL_REGIONS, args.base_epochs, args.base_recipe, self.tokenizer)
        for region in self.regions:
            name = f"{'bilma' if way == args.ways[0] else way}-{region.code}"
            if way == SCRATCH:
                yield self.whole(name, region.code)
            else:
                epochs = self.adapt_epochs(region.code)
                yield self.pretraining(name, region.code, epochs, args.adapt_recipe, base)

    def regional_parts(self) -> dict[str, Any]:
        return {"region_tokens": True, "add_regions": [region.code for region in self.regions]}

    def whole(self, name: str, region: str, **settings: Any) -> Stage:
        """One training from nothing to the end; a rate that stays up falls for as long as in an adaptation."""
        last = self.adapt_epochs(region)
        epochs = self.args.base_epochs + last
        stage = self.pretraining(name, region, epochs, self.args.whole_recipe, self.tokenizer, **settings)
        if stage.resolved()["lr_scheduler_type"] == STABLE:
            return replace(stage, settings=stage.settings | {"decay_ratio": last / epochs})
        return stage

    def adapt_epochs(self, region: str) -> float:
        """Passes of an adaptation over a region's texts; of all regions together, over all of theirs."""
        own, epochs = self.regions_of(region), self.args.adapt_epochs
        more = sum(max(0.0, self.args.adapt_min_texts - epochs * one.texts) for one in own)
        return epochs + more / sum(one.texts for one in own)

    def regions_of(self, region: str) -> list[RegionTexts]:
        return [one for one in self.regions if region in (ALL_REGIONS, one.code)]

    def pretraining(
        self, name: str, region: str, epochs: float, recipe: str, origin: dict[str, Sequence[Path]], **settings: Any
    ) -> Stage:
        own = self.regions_of(region)
        return Stage(
            "pretrain.py",
            self.home / name,
            {"train_file": files_of(own)} | origin,
            {"recipe": recipe, "region": region, "num_train_epochs": epochs} | self.shared | settings,
            texts=epochs * sum(one.texts for one in own),
        )

    def comparison(self, folder: str, settings: dict[str, Any], **inputs: Sequence[Path]) -> Stage:
        return Stage("evaluate_family.py", self.home / folder, inputs, self.shared | settings)

    def emoji_stages(self, models: Sequence[Path]) -> Iterator[Stage]:
        enough = [
            (region, model)
            for region, model in zip(self.regions, models, strict=True)
            if region.emoji_texts >= self.args.min_labelled_texts
        ]
        classifiers = [self.emoji_model(region, model) for region, model in enough]
        baselines = [
            self.baselines(classifier, region) for classifier, (region, _) in zip(classifiers, enough, strict=True)
        ]
        yield from classifiers
        yield from baselines
        if classifiers:
            asked = {"corpora": files_of([region for region, _ in enough])}
            if self.args.labelled:
                asked = {"emoji_files": [Path(self.args.labelled)]}
            folders = [stage.output_dir / method for stage in baselines for method in METHODS]
            yield self.comparison(
                RESULTS, {}, emoji_models=[stage.output_dir for stage in classifiers], emoji_baselines=folders, **asked
            )

    def task_stages(self, models: Sequence[Path]) -> Iterator[Stage]:
        for region, model in zip(self.regions, models, strict=True):
            for file, texts in region.task_texts.items():
                if texts < self.args.min_labelled_texts:
                    continue
                task = task_name(str(file))
                classifier = self.classifier(f"{task}-{region.code}", model, file, task, region, texts)
                yield classifier
                yield self.baselines(classifier, region)

    def emoji_model(self, region: RegionTexts, model: Path) -> Stage:
        name = f"bilma-{region.code}-emoji"
        file = Path(self.args.labelled) if self.args.labelled else None
        return self.classifier(name, model, file, EMOJI_TASK, region, region.emoji_texts)

    def classifier(
        self, name: str, model: Path, labelled: Path | None, task: str, region: RegionTexts, texts: int
    ) -> Stage:
        """Fine-tuning on the region's texts of a labelled file; without one, on its corpus."""
        files, settings = files_of([region]), {"recipe": self.args.finetune_recipe, "task": task}
        if labelled:
            files, settings = [labelled], settings | {"region": region.code, "label_column": LABEL_COLUMN}
        inputs = {"model": [model], "train_file": files}
        stage = Stage("finetune.py", self.home / name, inputs, settings | self.shared)
        flags = stage.resolved()
        return replace(stage, texts=texts * flags["num_train_epochs"] * len(flags["seeds"]))

    def baselines(self, classifier: Stage, region: RegionTexts) -> Stage:
        """What a classifier has to beat, on the same texts; after the model, of which the base wants all cores."""
        flags = classifier.resolved()
        inputs = {"train_file": classifier.inputs["train_file"], "embedding_file": files_of([region])}
        settings = {name: flags[name] for name in SAME_TEXTS if flags[name] is not None}
        name = classifier.output_dir.name.removeprefix("bilma-")
        model = classifier.inputs["model"][0]
        return Stage("baselines.py", self.home / f"{BASELINES}-{name}", inputs, settings, after=model)


def files_of(regions: Sequence[RegionTexts]) -> list[Path]:
    return [file for region in regions for file in region.corpus.files]
