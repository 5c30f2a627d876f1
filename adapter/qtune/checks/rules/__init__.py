"""The combinations that LLaMA-Factory, transformers, PEFT and DeepSpeed refuse or get wrong, one row each.

A new rule is a new row in the module of its subject, with a case that it fires on and one that it does not
in tests/rule_cases.py.
"""

from __future__ import annotations

from qtune.checks.rules import (
    arguments,
    batches,
    clusters,
    data,
    deepspeed,
    engine,
    idle,
    launching,
    machine,
    models,
    optimizers,
    packages,
    packing,
    preferences,
    quantization,
    ranges,
    stages,
    trainer,
    tuning,
)
from qtune.checks.rules.view import Rule, View, apply
from qtune.values import Finding

RULES: tuple[Rule, ...] = (
    *models.RULES,
    *quantization.RULES,
    *tuning.RULES,
    *optimizers.RULES,
    *data.RULES,
    *stages.RULES,
    *preferences.RULES,
    *trainer.RULES,
    *arguments.RULES,
    *batches.RULES,
    *ranges.RULES,
    *deepspeed.RULES,
    *engine.RULES,
    *launching.RULES,
    *clusters.RULES,
    *machine.RULES,
    *packing.RULES,
    *packages.RULES,
    *idle.RULES,
)


def check_rules(view: View, mistaken: frozenset[str] = frozenset()) -> list[Finding]:
    """The findings of every rule that applies, in the order of the table.

    mistaken: keys whose values are wrong by themselves, and missing in the view: rules about them are silent.
    """
    findings = (apply(rule, view) for rule in RULES if mistaken.isdisjoint(rule.keys))
    return [finding for finding in findings if finding is not None]
