"""The experiments of the paper's appendices C, D and F on the generative model itself, each with its figures."""
