"""Whether a training by one config can run on this machine: numbered verdicts, each with what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtune.doctor import accelerators, build_tools, host, model_access, nodes, stack
from qtune.doctor.facts import Facts
from qtune.doctor.line import Line
from qtune.doctor.probe import Part, Probe
from qtune.machine.builds import read_build
from qtune.schema.library import packages
from qtune.values import Finding

# Rules whose findings stand in lines of their own.
_SHOWN_RULES = (
    "offload-needs-compiler",
    "nvme-needs-libaio",
    "deepspeed-is-installed",
    "quantizer-is-installed",
)


def examine(
    facts: Facts,
    probe: Probe,
    unreachable: str | None,
    findings: Sequence[Finding],
    config: str,
    shows: str,
) -> list[Line]:
    """Every line of the report.

    unreachable: why the hub does not answer; findings: about the config; config: its name; shows: the command
    that shows each of them.
    """
    needs, gpus, torch = facts.needs, facts.gpus, probe.part("torch")
    memory = accelerators.gpu_memory_line(gpus, facts.demand.gpu) if needs.gpu else None
    return [
        stack.python_line(probe.python, probe.executable),
        *stack.package_lines(probe.versions, gates_off=facts.gates_off),
        stack.builds_line({name: probe.part(name) for name in stack.BUILDS}, imported=True),
        accelerators.driver_line(gpus, probe.cuda, torch.version, needed=needs.gpu),
        *_gpu_lines(facts),
        *accelerators.torch_device_lines(probe.kind, probe.hip, probe.devices, gpus, needed=needs.gpu),
        *([memory] if memory else []),
        build_tools.bitsandbytes_line(probe.part("bitsandbytes"), needs),
        build_tools.deepspeed_line(probe.part("deepspeed"), probe.problems, needs),
        *build_tools.left_over_lines(facts.tools),
        build_tools.compiler_line(facts.tools, facts.rules),
        build_tools.cuda_home_line(facts.tools, needs, probe, gpus=bool(gpus.devices)),
        build_tools.ninja_line(facts.tools, needs),
        build_tools.async_io_line(facts.tools, facts.rules, needs),
        build_tools.flash_attention_line(probe.part("flash_attn"), needs),
        host.memory_line(facts.host, facts.demand),
        host.shared_memory_line(facts.host, needs),
        host.open_files_line(facts.host),
        host.disk_line(facts.volume, facts.demand, facts.runs),
        *_starting(facts),
        model_access.hub_line(facts.hub, unreachable, needs, facts.cached),
        model_access.model_line(facts.hub, needs, facts.cached),
        config_line(config, findings, shows),
    ]


def preflight(facts: Facts, version: Callable[[str], str | None]) -> list[Line]:
    """The lines that are no `ok`, of those that need no import of torch.

    version: of an installed distribution. Rules about the machine, such as a missing compiler, were checked
    with the config.
    """
    needs, builds = facts.needs, _builds()
    torch = builds["torch"]
    lines = [
        *stack.package_lines(_versions(version), gates_off=facts.gates_off),
        stack.builds_line(builds, imported=False),
        model_access.model_line(facts.hub, needs, facts.cached),
        host.disk_line(facts.volume, facts.demand, facts.runs),
        *_starting(facts),
    ]
    if not needs.elsewhere:
        lines += _machine_lines(facts, torch)
    return [line for line in lines if line.level != "ok"]


def _machine_lines(facts: Facts, torch: Part) -> list[Line]:
    needs = facts.needs
    lines = [host.memory_line(facts.host, facts.demand)]
    if needs.gpu:
        memory = accelerators.gpu_memory_line(facts.gpus, facts.demand.gpu)
        cuda = build.cuda if (build := read_build("torch")) else None
        lines += [
            accelerators.driver_line(facts.gpus, cuda, torch.version, needed=True),
            *_gpu_lines(facts),
            *([memory] if memory else []),
            host.shared_memory_line(facts.host, needs),
        ]
    if needs.zero:
        lines += [
            build_tools.ninja_line(facts.tools, needs),
            build_tools.cuda_home_line(facts.tools, needs, None, gpus=bool(facts.gpus.devices)),
        ]
    return lines


def _gpu_lines(facts: Facts) -> list[Line]:
    if facts.others is not None:
        return [accelerators.others_line(facts.others, facts.needs, rendered=facts.rendered)]
    return accelerators.gpu_lines(facts.gpus, facts.needs, hidden=facts.hidden)


def _starting(facts: Facts) -> list[Line]:
    lines = [nodes.launcher_line(facts.library)] if facts.library and facts.needs.torchrun else []
    return [*lines, nodes.meeting_line(facts.meeting)] if facts.meeting else lines


def config_line(config: str, findings: Sequence[Finding], shows: str) -> Line:
    errors = [item for item in findings if item.severity == "error" and item.rule not in _SHOWN_RULES]
    if not errors:
        return Line("preset", "ok", f"`qtune check` finds nothing else that {config} would fail on")
    first = f"{errors[0].key}: {errors[0].message}"
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return Line("preset", "failure", f"{config}: {first}{more}", f"`{shows}` shows all, with fixes")


def _builds() -> dict[str, Part]:
    found = {name: read_build(name) for name in stack.BUILDS}
    return {
        name: Part(build.version) if build else Part(error=f"ModuleNotFoundError: No module named '{name}'")
        for name, build in found.items()
    }


def _versions(version: Callable[[str], str | None]) -> Mapping[str, str]:
    return {name: number for name in packages() if (number := version(name)) is not None}
