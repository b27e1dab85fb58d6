"""What bench-textures says of its model, held against what was run."""

SMALL = "texture_net tells textures apart with fewer than 20,000 parameters"
MOST = 20_000
COMMAND = "python -m bench run texture_net --protocol quick --data textures"


def is_small(evidence):
    """Of every comparison on textures: the parameters of the trained network, head included, and its test top-1."""
    from bench import Verdict

    found = list(evidence.compared(["texture_net"], {"dataset": "textures"}))
    records = [contender.first for _, (contender,) in found if contender.finished]
    if not records:
        return Verdict("not testable", "no trials of texture_net on textures", COMMAND)
    numbers = "; ".join(f"{one.model.params:,} parameters, {one.accuracy.test_top1:.0%} top-1" for one in records)
    small = all(one.model.params < MOST for one in records)
    return Verdict("confirmed" if small else "refuted", numbers, places=tuple(one.folder.name for one, _ in found))
