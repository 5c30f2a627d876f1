"""Checkpoints as the library leaves them, but for the tensors in them."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path


def save_checkpoint(
    run: Path, step: int, *, adapter: bool = True, zero: int = 0, fsdp: str = "", processes: int = 1
) -> Path:
    """Write `checkpoint-STEP` into a run's directory; fsdp: `whole` or `sharded`."""
    path = run / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if adapter:
        (path / "adapter_config.json").write_text("{}")
    save_tensors(path / ("adapter_model.safetensors" if adapter else "model.safetensors"))
    save_archive(path / "scheduler.pt")
    ranks = range(processes)
    if zero:
        tag = f"global_step{step}"
        (path / "latest").write_text(tag)
        for rank in ranks:
            save_archive(path / tag / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
            if zero == 3:
                save_archive(path / tag / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        if zero != 3:
            save_archive(path / tag / "mp_rank_00_model_states.pt")
    elif fsdp == "whole":
        save_archive(path / "pytorch_model_fsdp.bin")
        save_archive(path / "optimizer.bin")
    elif fsdp == "sharded":
        for name in ("pytorch_model_fsdp_0", "optimizer_0"):
            for rank in ranks:
                save_archive(path / name / f"__{rank}_0.distcp")
            (path / name / ".metadata").write_bytes(b"metadata")
    else:
        save_archive(path / "optimizer.pt")
    for name in ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in ranks]:
        save_archive(path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    return path


def save_tensors(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def save_archive(path: Path) -> None:
    """A zip file, as torch.save writes."""
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(64))
        archive.writestr("archive/data/0", bytes(256))
