"""The colours of codes, the same in every picture."""

import numpy as np

# Okabe and Ito's colours, which people with colour-blindness can tell apart.
_FEW = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def code_colours(codes: int) -> list[str]:
    """Return a colour for each code, the same in every picture."""
    if codes <= len(_FEW):
        return list(_FEW[:codes])
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(matplotlib.colormaps["turbo"](x)) for x in np.linspace(0.02, 0.98, codes)]
