"""The report's section on classifiers and simple methods, from `classifiers.json` alone."""

from training.common.markdown import markdown_table
from training.evaluation.classifier_results import ClassifiersResult, ClassifierTask
from training.evaluation.results import number, number_over_seeds

SCORE_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


def classifiers_section(result: ClassifiersResult) -> list[str]:
    parts = [
        "Values are means over seeds, ± their standard deviation. In brackets 95 % intervals over seeds and authors "
        f"(texts where no author is named) together, from {result['settings']['resamples']:,} bootstrap samples that "
        "all methods share. A classifier wins where it exceeds every simple method: `p` is the largest of the "
        "one-sided p-values, `p (Holm)` corrects it over the regions; a win needs 5 %."
    ]
    for task in result["tasks"]:
        parts += [f"### {task['task']}", *wins_lines(task), described(task), *task["notes"]]
        parts += [scores_table(task), "Each classifier less each simple method:", differences_table(task)]
    return parts


def described(task: ClassifierTask) -> str:
    how = f"{task['folds']}-fold cross-validation" if task["folds"] else "one test part"
    drawn = "texts" if task["authors"] is None else f"{task['authors']:,} authors"
    return f"{task['texts']:,} test texts, {len(task['labels'])} labels, {how}; intervals draw {drawn}."


def wins_lines(task: ClassifierTask) -> list[str]:
    """Say first which classifiers beat every simple method, on what, and how sure that is."""
    rows = [
        [
            win["region"],
            win["own"],
            SCORE_NAMES[win["score"]],
            number(win["smallest_difference"]),
            win["closest"],
            f"{win['p_value']:.4f}",
            f"{win['p_holm']:.4f}",
            "yes" if win["wins"] else "no",
        ]
        for win in task["wins"]
    ]
    return [
        markdown_table(
            ["texts of", "classifier", "score", "smallest gain", "over", "p", "p (Holm)", "wins"],
            rows,
        )
    ]


def scores_table(task: ClassifierTask) -> str:
    rows = [
        [
            cell["region"],
            cell["method"],
            f"{cell['count']:,}",
            str(cell["seeds"]),
            number_over_seeds(cell["accuracy"], cell["accuracy_std"]),
            number_over_seeds(cell["macro_f1"], cell["macro_f1_std"]),
        ]
        for cell in task["cells"]
    ]
    return markdown_table(["texts of", "method", "texts", "seeds", "accuracy", "macro-F1"], rows)


def differences_table(task: ClassifierTask) -> str:
    rows = [
        [
            entry["region"],
            entry["classifier"],
            entry["other"],
            SCORE_NAMES[entry["score"]],
            number(entry["difference"]),
            f"{entry['p_value']:.4f}",
            "–" if entry["p_mcnemar"] is None else f"{entry['p_mcnemar']:.4f}",
        ]
        for entry in task["comparisons"]
    ]
    head = ["texts of", "classifier", "simple method", "score", "difference", "p", "p (McNemar)"]
    return markdown_table(head, rows)
