"""What `manyways reproduce` prints of its results."""

from typing import Any

from manyways.cli.console import console, say, table

_EM_NAMES = {
    "sog": "SOG",
    "em-1": "EM, σ = 1",
    "em-0.01": "EM, σ = 0.01",
    "sog-close": "SOG, closer modes",
}


def show_em_toy(results: dict[str, Any]) -> None:
    """Print the losses, purities and likelihoods, as means over the seeds."""
    rows = table("", "loss", "one-hot loss", "purity 1", "3", "end", "log p(y|x)")
    for name, label in _EM_NAMES.items():
        runs = results["runs"][name]
        purities = [run["purity_by_epoch"] for run in runs]
        values = (
            f"{_mean([run['final_loss'] for run in runs]):.6f}",
            f"{_mean([run['final_one_hot_loss'] for run in runs]):.6f}",
            f"{_mean([purity[0] for purity in purities]):.3f}",
            f"{_mean([purity[min(2, len(purity) - 1)] for purity in purities]):.3f}",
            f"{_mean([run['final_purity'] for run in runs]):.3f}",
            f"{_mean([run['log_likelihood_nats'] for run in runs]):.3f}",
        )
        rows.add_row(label, *values)
    console.print(rows)
    say(
        f"means over {len(results['settings']['seeds'])} seeds; purity after epochs 1, 3 and the last; "
        "the likelihood in nats, at the data's σ"
    )

    for sigma, terms in results["equation_17"].items():
        say(
            f"Equation 17 at σ = {sigma}: log p(y|x), SOG less EM: {_mean(terms['difference']):.4f} nats = "
            f"{_mean(terms['losses']):.4f} of the losses, {_mean(terms['posteriors']):.4f} of the posteriors, "
            f"{_mean(terms['priors']):.4f} of EM's own π"
        )
    errors = [
        own["largest_error"] for runs in results["runs"].values() for run in runs for own in run["equation_16"].values()
    ]
    say(f"Equation 16: largest error {max(errors):.1e} nats")


def show_posterior_gap(results: dict[str, Any]) -> None:
    """Print how exactly Equation 19 holds, and how tight the bound is."""
    found = results["equation_19"]
    say(f"Equation 19: largest error {found['identity_largest_error']:.1e} nats over {found['points']} points")
    say(
        f"gap at z*: {found['mean_gap']:.3f} nats; Equation 23f is off by at most "
        f"{found['gap_closed_form_largest_error']:.1e}"
    )
    say(
        f"bound h: {found['mean_bound']:.3f} nats as in the paper, "
        f"{found['mean_bound_with_half']:.3f} where the 1/2 of Equation 23f stays"
    )
    drawn = found["on_random_posteriors"]
    say(
        f"on {drawn['draws']} random posteriors, the first term of g is at most "
        f"{drawn['largest_first_term_of_g_over_h']:.3f} of h's as in the paper, "
        f"{drawn['largest_first_term_of_g_over_h_with_half']:.3f} of h's with the 1/2"
    )
    for candidates, terms in results["trainings_by_candidates"].items():
        say(
            f"SOG with {candidates} candidates: log-likelihood {terms['log_likelihood'][0]:.2f} before training, "
            f"{max(terms['log_likelihood']):.2f} at best, {terms['log_likelihood'][-1]:.2f} at the end "
            f"(the true model {terms['true_log_likelihood'][0]:.2f})"
        )


def show_images(results: dict[str, Any]) -> None:
    """Print errors and accuracies beside each other."""
    rows = table("", "squared error an image", "a pixel", "k-NN accuracy", "training (s)", "encoding (s)")
    for name, score in results["scores"].items():
        accuracy = "no labels" if score["knn_accuracy"] is None else f"{score['knn_accuracy']:.1%}"
        times = [results[what].get(name) for what in ("training_seconds", "encoding_seconds")]
        rows.add_row(
            name,
            f"{score['squared_error_an_image']:.2f}",
            f"{score['squared_error_a_number']:.5f}",
            accuracy,
            *("" if seconds is None else f"{seconds:.1f}" for seconds in times),
        )
    console.print(rows)
    say(f"on {results['data']['test']:,} test images; data: {results['data']['source']}")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
