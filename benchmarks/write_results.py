"""Writes the tables of README and docs from the result files, between `<!-- results: NAME -->` and `<!-- end -->`.

A † marks what was made by another expert, with other settings of its demonstrations, or before files said where they
come from: it stands until it is made again. `--check` changes nothing, and fails where text and files differ.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import tyro

from label_tables import REPORTED as LABELLED
from manyways.reproduce.paper import NAMES, ratio
from manyways.reproduce.records import Records
from manyways.reproduce.report import all_claims, claim_cells, cost_cells
from manyways.reproduce.tables import cells as paper_cells
from manyways.runs.provenance import expert_fingerprint
from manyways.tasks import get_task
from mode_tables import REPORTED

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
STALE = "†"

RANGES = {task: NAMES[task] for task in ("halfcheetah-vel", "fetch-reach")}
TASKS = {task: name for task, name in NAMES.items() if task not in RANGES}
ALGORITHMS = ("sog-bc", "sog-gail", "infogail", "vae-gail", "gail", "bc", "mdn", "bet", "diffusion")


def main(*, check: bool = False) -> None:
    """Write the tables into their pages.

    Args:
        check: write nothing; fail where a page is not what the files say.
    """
    differing = []
    for page in PAGES:
        text = page.read_text()
        written = re.sub(
            r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)",
            lambda found: found[1] + TABLES[found[2]]() + found[3],
            text,
            flags=re.DOTALL,
        )
        if written != text:
            differing.append(page.relative_to(ROOT))
            if not check:
                page.write_text(written)
    if check and differing:
        print(
            f"{', '.join(map(str, differing))} are not what the result files say; run `make results`", file=sys.stderr
        )
        raise SystemExit(1)
    print("nothing to write" if not differing else f"wrote {', '.join(map(str, differing))}")


def read(path: str) -> Any:
    """Return a result file, by its path from the project's root."""
    return json.loads((ROOT / path).read_text())


def rows(task: str, folder: str) -> list[dict[str, Any]]:
    """Return a task's results of all seeds, in order."""
    files = sorted((ROOT / "results" / task / folder).glob("seed-*.json"), key=lambda file: int(file.stem[5:]))
    return [json.loads(file.read_text()) for file in files]


@cache
def expert_of(task: str) -> str | None:
    """Return the fingerprint of the expert that ships."""
    return expert_fingerprint(get_task(task))


@cache
def shipped(task: str) -> list[str]:
    """Return the fingerprints of a task's demonstrations (`benchmarks/demonstrations.py`)."""
    return list(read("results/demonstrations.json")["data"].get(task, []))


def mark(results: Iterable[dict[str, Any]], task: str | None = None) -> str:
    """Return † where a result does not say where it comes from, or is of another expert or other demonstrations."""
    for result in results:
        known = result.get("provenance")
        if known is None:
            return f" {STALE}"
        if task is not None and (known.get("expert") != expert_of(task) or known.get("data") not in shipped(task)):
            return f" {STALE}"
    return ""


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    head = list(head)
    all_lines = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in all_lines)


def shares(results: list[dict[str, Any]]) -> list[float]:
    """Return each result's return over its expert's."""
    return [result["return_mean"] / result["expert_return_mean"] for result in results]


def cell(task: str, folder: str) -> str:
    """Return the mean share of the expert over the seeds, with how many there are."""
    results = [result for result in rows(task, folder) if "return_mean" in result and result["expert_return_mean"]]
    if not results:
        return ""
    values = shares(results)
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread} ({len(values)}){mark(results, task)}"


def readme() -> str:
    """SOG-BC beside the paper's own start and search, and beside the paper's numbers, in ten lines."""
    lines = []
    for task, name in TASKS.items():
        share = ratio(task, "sog-bc")
        lines.append([name, *in_readme(task, shares, ".2f"), "" if share is None else f"{share:.2f}"])
    for task, unit, metric, form, paper in (
        ("halfcheetah-vel", "nats", "mutual_information_nats", ".2f", "1.58"),
        ("fetch-reach", "goals hit", "hit_rate", ".0%", "100%"),
    ):
        values = partial(map, itemgetter(metric))
        lines.append([f"{RANGES[task]} ({unit})", *in_readme(task, values, form), paper])
    return table(["task", "SOG-BC", "as in the paper", "the paper's number"], lines)


def in_readme(task: str, values: Callable[[Any], Iterable[float]], form: str) -> list[str]:
    """Return the means over the results of SOG-BC and of the paper's own, with their marks; empty without results."""
    measured = rows(task, "sog-bc"), rows(task, "sog-bc-paper")
    return [f"{statistics.mean(values(found)):{form}}{mark(found, task)}" if found else "" for found in measured]


def paper_table(name: str) -> str:
    """Return a table beside the paper's."""
    head, *lines = paper_cells(name, Records(ROOT / "results"))
    return table(head, lines)


def others() -> str:
    """Return Table 1's metric of algorithms and tasks that the paper's table does not have."""
    lines = [[name, cell(task, "gail"), cell(task, "bc")] for task, name in TASKS.items() if rows(task, "gail")]
    lines.append([TASKS["circles-images"], "", "", cell("circles-images", "sog-bc")])
    return table(["task", "gail", "bc", "sog-bc"], [[*line, ""][:4] for line in lines])


def verdicts() -> str:
    """Return the paper's claims, and whether they hold."""
    head, *lines = claim_cells(all_claims(ROOT / "results"))
    return table(head, lines)


def cost() -> str:
    """Return what the paper's tables cost."""
    head, *lines = cost_cells(Records(ROOT / "results"))
    return table(head, lines)


def without_codes() -> str:
    """Return which modes are covered when nobody chooses."""
    lines = []
    for task in ("circles", "halfcheetah-fwd-back"):
        for algorithm in ("sog-bc", "mdn", "bet", "diffusion", "bc"):
            for result in rows(task, algorithm)[:1]:
                coverage = result["coverage"]
                share = coverage["return_mean"] / coverage["expert_return_mean"]
                modes = ", ".join(str(count) for count in coverage["mode_counts"])
                entropy = f"{coverage['behaviour_entropy']:.2f}"
                lines.append([TASKS[task], algorithm, f"{share:.3f}{mark([result], task)}", modes, entropy])
    return table(["task", "algorithm", "share of the expert", "rollouts of each mode", "entropy, of 1"], lines)


def disturbed() -> str:
    """Return returns with a fifth of the actions random, and with switched codes."""
    lines = []
    for task, name in TASKS.items():
        for algorithm in ("sog-bc", "sog-gail"):
            results = [result for result in rows(task, algorithm) if result.get("random_actions")]
            if results:
                random = statistics.mean(result["random_actions"]["return_mean"] for result in results)
                expert = statistics.mean(result["expert_return_mean"] for result in results)
                switched = [result["switched_codes"] for result in results if result.get("switched_codes")]
                lasting = f"{statistics.mean(s['survived'] for s in switched):.0%}" if switched else ""
                who = f"{algorithm} ({len(results)})"
                lines.append([name, who, f"{random:,.0f}{mark(results, task)}", f"{random / expert:.2f}", lasting])
    head = ["task", "algorithm (seeds)", "return", "share of the undisturbed expert", "switched rollouts that last"]
    return table(head, lines)


def counting() -> str:
    """Return the counts of the tasks' modes, and of the family of motions."""
    lines = []
    for name, seeds in read("results/counting.json").items():
        task = name.split(",")[0]
        measured = [count for key, count in sorted(seeds.items()) if key.isdigit()]
        found = ", ".join(str(count["best"]) for count in measured)
        lines.append([TASKS.get(task, task), str(measured[0]["true"]), f"{found}{mark(measured, task)}"])
    return table(["demonstrations of", "modes", "counted, seed by seed"], sorted(lines))


def seeds_of(result: Any) -> list[dict[str, Any]]:
    """Return what was measured with each seed, of a result with seeds as keys."""
    return [value for key, value in result.items() if key.isdigit()] if isinstance(result, dict) else []


def motions() -> str:
    """Return how well the kinds of a family of motions are found."""
    lines = []
    methods: list[str] = []
    for file in sorted((ROOT / "results" / "motions").glob("*.json")):
        if file.stem == "counting":
            continue
        result = json.loads(file.read_text())
        methods = methods or [name for name in result if any("purity" in seed for seed in seeds_of(result[name]))]
        line = [file.stem]
        for method in methods:
            seeds = seeds_of(result.get(method, {}))
            scores = [value["normalized_mutual_information"] for value in seeds if "purity" in value]
            line.append(f"{statistics.mean(scores):.3f} ({len(scores)})" if scores else "")
        line[0] += mark([result])
        lines.append(line)
    return table(["set (kinds x trajectories each)", *methods], lines)


def speed() -> str:
    """Return steps a second beside references in the same run."""
    lines = []
    throughput = read("benchmarks/results/throughput.json")
    for size in throughput["sizes"]:
        for what in ("search", "training"):
            rate = size[f"{what}_steps_per_second"]
            whole, bare = (size[f"{what}_over_{reference}"] for reference in ("reference", "bare_reference"))
            beside = f"{whole:.1f} times the paper's way, {bare:.1f} times that without distributions"
            lines.append([f"{what}, {size['size']}", f"{rate:,}{mark([throughput])}", beside])
    continuous = read("benchmarks/results/continuous-search.json")
    for size in continuous["sizes"]:
        for what in ("exact", "raced"):
            rate = size[f"{what}_steps_per_second"]
            lines.append([f"continuous search, {what}, {size['size']}", f"{rate:,}{mark([continuous])}", ""])
    gail = read("benchmarks/results/gail-speed.json")
    for one in gail["speeds"]:
        beside = f"imitation {one['imitation_steps_per_second']:,}: {one['ratio']:.2f} times"
        lines.append([f"GAIL, {one['threads']} threads", f"{one['manyways_steps_per_second']:,}{mark([gail])}", beside])
    ppo = read("benchmarks/results/ppo-speed.json")
    for one in ppo["sizes"]:
        beside = f"{one['over_stable_baselines3']:.2f} times Stable-Baselines3 on EnvPool"
        what = f"PPO, minibatches of {one['minibatch']}, {one['threads']} threads"
        lines.append([what, f"{one['manyways_steps_per_second']:,}{mark([ppo])}", beside])
    return table(["what", "steps a second", "beside"], lines)


def versions() -> str:
    """Return processor seconds before and after the change to automatic differentiation."""
    lines = []
    for name, result in read("benchmarks/results/versions.json").items():
        before, after = (statistics.median(result["processor_seconds"][which]) for which in ("before", "after"))
        commits = " and ".join(result["commits"][which][:7] for which in ("before", "after"))
        lines.append([name, f"{before:.2f}", f"{after:.2f}", f"{after / before:.2f}", commits])
    return table(["work", "before (s)", "after (s)", "after over before", "commits"], lines)


def crossq() -> str:
    """Return our CrossQ beside Stable-Baselines3-Contrib's."""
    lines = []
    for task, result in read("benchmarks/results/crossq.json").items():
        if task in TASKS:
            ours, theirs = (result[name][-1] for name in ("ours", "sb3_contrib"))
            numbers = [f"{one['averaged']['return_mean']:,.0f}" for one in (ours, theirs)]
            lines.append([TASKS[task], *numbers, f"{result['sb3_contrib_over_ours']:.2f}"])
    return table(["task", "ours", "sb3-contrib", "share"], lines)


def experts() -> str:
    """Return what each expert that ships reaches, from its card."""
    lines = []
    for task, name in (TASKS | RANGES).items():
        chosen = get_task(task)
        if chosen.scripted_expert is not None:
            lines.append([name, "a script", "", "", ""])
            continue
        card = chosen.trained_expert.card
        reached = "yes" if card["target_reached"] else "no"
        numbers = [f"{card['return_mean']:,.1f} ± {card['return_std']:,.1f}", f"{card['target_return']:,g}", reached]
        lines.append([name, card["algorithm"], *numbers])
    return table(["task", "trained by", "return", "target", "reached"], lines)


EM = {
    "sog": "SOG",
    "em-1": "EM, σ = 1",
    "em-0.01": "EM, σ = 0.01",
    "sog-close": "SOG, modes closer together",
}


def em_toy() -> str:
    """Return hard beside soft EM (Appendix C)."""
    result = read("results/reproductions/em-toy.json")
    lines = []
    for name, runs in result["runs"].items():
        loss, one_hot, likelihood = (
            statistics.mean(run[key] for run in runs)
            for key in ("final_loss", "final_one_hot_loss", "log_likelihood_nats")
        )
        first = statistics.mean(run["purity_by_epoch"][0] for run in runs)
        final = statistics.mean(run["final_purity"] for run in runs)
        numbers = [f"{loss:.6f}", f"{one_hot:.6f}", f"{first:.2f}, {final:.2f}", f"{likelihood:.3f}"]
        lines.append([EM.get(name, name) + mark([result]), *numbers])
    head = ["", "loss", "loss with one-hot codes", "purity after epoch 1, last", "log p(y given x), nats"]
    return table(head, lines)


def equation_17() -> str:
    """Return the terms of Equation 17, as means over the seeds."""
    result = read("results/reproductions/em-toy.json")
    names = ("difference", "losses", "posteriors", "priors")
    lines = []
    for sigma, terms in result.get("equation_17", {}).items():
        lines.append([f"{sigma}{mark([result])}", *(f"{statistics.mean(terms[name]):.5f}" for name in names)])
    return table(["σ", "log p(y given x), SOG less EM", "of the losses", "of the posteriors", "of EM's π"], lines)


def posterior_gap() -> str:
    """Return what was checked of Appendix D."""
    result = read("results/reproductions/posterior-gap.json")
    checked = result["equation_19"]
    lines = [[name.replace("_", " "), f"{value:.3g}"] for name, value in checked.items() if isinstance(value, float)]
    return table(["quantity", f"nats{mark([result])}"], lines)


def images() -> str:
    """Return errors and neighbours' accuracy of images (Appendix F)."""
    lines = []
    for file in sorted((ROOT / "results" / "reproductions").glob("*.json")):
        name, result = file.stem, json.loads(file.read_text())
        if "scores" not in result:
            continue
        for method, scores in result["scores"].items():
            accuracy = scores["knn_accuracy"]
            seconds = result["training_seconds"].get(method)
            lines.append(
                [
                    f"`{name}`, {result['settings']['dimension']} dimensions{mark([result])}",
                    method,
                    f"{scores['squared_error_an_image']:.1f}",
                    "" if accuracy is None else f"{accuracy:.1%}",
                    "" if seconds is None else f"{seconds:.0f}",
                ]
            )
    return table(["command", "method", "squared error an image", "k-NN accuracy", "seconds of training"], lines)


def small_data() -> str:
    """Return success on small noisy demonstrations of the reported variants, beside the yardstick's."""
    rows = [row for row in read("benchmarks/results/small-data.json")["rows"] if row["variant"] % 2]
    names = {"default": "SOG-BC", "yardstick": "yardstick", "muon": "one observation, one action, muon"}
    rivals = ("bc", "mdn", "bet", "vq-bet", "diffusion")
    cells: dict[tuple[str, bool, int], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        cell = row["family"], row.get("unequal", False), row["count"]
        cells.setdefault(cell, {}).setdefault(row["settings"], []).append(row)
    lines = []
    for (family, unequal, count), found in sorted(cells.items()):
        line = [family + (", unequal" if unequal else ""), str(count)]
        for name in (*names, *rivals):
            measured = found.get(name, [])
            success = [value for row in measured for value in row["success"]]
            worst = f" ({min(success):.2f})" if success and name not in rivals else ""
            line.append(f"{statistics.mean(success):.2f}{worst}" if success else "")
        agreement = [row["agreement"] for row in found.get("default", [])]
        line += [f"{statistics.mean(agreement):.2f}" if agreement else "", str(len(agreement))]
        lines.append(line)
    return table(["family", "demonstrations", *names.values(), *rivals, "agreement of codes and modes", "sets"], lines)


def segments() -> str:
    """Return how well changes of mode within trajectories are found."""
    groups: dict[tuple[str, bool, str], list[dict[str, Any]]] = {}
    for row in read("benchmarks/results/segments.json")["rows"]:
        groups.setdefault((row["task"], not row["changing"], row["method"]), []).append(row)
    lines = []
    for (task, never, method), found in sorted(groups.items()):
        name = TASKS.get(task, task) + (", no changes" if never else "")
        values = [[row[what] for row in found if row[what] is not None] for what in ("agreement", "f1", "false_alarms")]
        shown = [f"{statistics.mean(value):.2f}" if value else "" for value in values]
        lines.append([name, "SOG-BC, --segments" if method == "segments" else method, *shown, str(len(found))])
    return table(["task", "method", "steps with the right mode", "F1 of changes", "false alarms", "data sets"], lines)


TABLES: dict[str, Callable[[], str]] = {
    "em-toy": em_toy,
    "equation-17": equation_17,
    "posterior-gap": posterior_gap,
    "images": images,
    "readme": readme,
    "table-1": partial(paper_table, "table1"),
    "table-2": partial(paper_table, "table2"),
    "table-3": partial(paper_table, "table3"),
    "others": others,
    "verdicts": verdicts,
    "cost": cost,
    "without-codes": without_codes,
    "disturbed": disturbed,
    "counting": counting,
    "motions": motions,
    "speed": speed,
    "versions": versions,
    "crossq": crossq,
    "experts": experts,
    "segments": segments,
    "small-data": small_data,
    **{name: partial(lambda cells: table(*cells()), cells) for name, cells in (REPORTED | LABELLED).items()},
}


if __name__ == "__main__":
    tyro.cli(main)
