"""`kl_beta` of an original: how strongly it is held near the base model."""

from __future__ import annotations

from qtune.config.kl import KL_BETA, kl_arguments
from qtune.files import dump_yaml
from qtune.importing.parts import Translation, noted, refused
from qtune.values import KeyPath, Value


def hold_near_base(value: Value, part: Translation) -> Translation:
    """`kl_beta` as the arguments of the stage; value: its weight; part: what the config says beside it."""
    if not isinstance(value.value, int | float) or isinstance(value.value, bool):
        message = f"{dump_yaml(value.value)} is no number"
        return refused(KL_BETA, message, "correct it in the original", value.origin)
    train = {path[1]: item.value for path, item in part.values.items() if path[0] == "train"}
    arguments = kl_arguments(train, value.value) if value.value else {}
    if value.value and not arguments:
        message = f"stage {train.get('stage', 'sft')} has no term that holds the model near its base"
        return refused(KL_BETA, message, "take it out of the original", value.origin)
    words = ", ".join(f"`{name}: {dump_yaml(item)}`" for name, item in arguments.items())
    note = f"{words}: larger stays closer to the base model" if words else "left out: 0 holds nothing"
    values: dict[KeyPath, Value] = {
        ("train", name): Value(item, value.origin) for name, item in arguments.items()
    }
    return Translation(values) + noted(KL_BETA, note, value.origin)
