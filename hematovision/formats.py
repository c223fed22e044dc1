"""Numbers as people read them."""


def percent(share: float) -> str:
    """A share of 0 to 1 in percent; never "100 %" or "0 %": no model is that sure."""
    if share > 0.99:
        return "over 99 %"
    if share < 0.01:
        return "under 1 %"
    return f"{100 * share:.0f} %"
