"""Several processes training one supernet: who am I, and how gradients become those of the joint batch.

What is equal to one process on the joint batch. Every rank draws the same architectures and takes its own part of the
same joint batch; after all sub-networks have added their gradients, the gradients are averaged over ranks. The mean of
the ranks' mean losses is the mean loss of the joint batch, so the update is that of a single process, up to the order
of floating-point sums. One thing differs: batch norm normalises with the statistics of a rank's own part. With batch
norm in eval mode gradients agree to 1e-10 in float64. Weights of all ranks stay bit-identical to each other, because
each applies the same averaged gradients to the same weights.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import ConfigError, OnceForAllError

Result = TypeVar("Result")

_BUCKET_ELEMENTS = 8_000_000  # gradients travel in pieces of 32 MB: large enough for bandwidth, small beside a model

# Names of rank, size, rank on this machine, and size on this machine, as each launcher sets them.
_LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "Open MPI": (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    "MPI": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    "SLURM": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
}
_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")


@dataclass(frozen=True)
class World:
    """The processes of one run; a single one by default."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace the gradients by their mean over ranks; every rank must pass the same parameters."""
        self.average([parameter.grad for parameter in parameters if parameter.grad is not None])

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace floating-point tensors by their mean over ranks, in place, a bucket at a time."""
        if self.size == 1:
            return
        bucket: list[Tensor] = []
        elements = 0
        for tensor in tensors:
            bucket.append(tensor)
            elements += tensor.numel()
            if elements >= _BUCKET_ELEMENTS:
                self._average_bucket(bucket)
                bucket, elements = [], 0
        if bucket:
            self._average_bucket(bucket)

    def _average_bucket(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def average_norm_statistics(self, model: nn.Module) -> None:
        """Replace the running batch-norm statistics by their mean over ranks: each rank saw its own images."""
        self.average(buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var")))

    def agree(self, value: Any) -> Any:
        """The value rank 0 passed, on every rank; for decisions that hang on a clock or on files."""
        if self.size == 1:
            return value
        shared = [value]
        dist.broadcast_object_list(shared, src=0)
        return shared[0]

    def from_main(self, function: Callable[[], Result]) -> Result:
        """Call a function on rank 0 only; its result, or the error it raised, appears on every rank."""
        if self.size == 1:
            return function()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = function()
            except OnceForAllError as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in the order of ranks, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Leave the group of processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def init_distributed(device: str = "auto", environment: Mapping[str, str] | None = None) -> World:
    """Join the processes that torchrun, mpirun or srun started; a plain start is a world of one.

    Args:
        device: decides the backend: NCCL between GPUs, gloo otherwise.
        environment: launcher variables; None means those of this process.

    Raises:
        ConfigError: a launcher announces several processes but does not number them, or several machines are used
            without MASTER_ADDR.
    """
    variables = os.environ if environment is None else environment
    world, machines_hint = _world_of(variables)
    if world.size == 1:
        for name in _SIZES:
            if variables.get(name, "1").isdigit() and int(variables.get(name, "1")) > 1:
                raise ConfigError(
                    f"{name}={variables[name]} announces several processes, but this one would train alone; start them "
                    "with `torchrun --nproc-per-node N`, mpirun or srun, or unset the variable"
                )
        return world
    if "MASTER_ADDR" not in variables and machines_hint:
        raise ConfigError("the processes run on several machines; set MASTER_ADDR to the name of the machine of rank 0")
    # Functions of this module keep the group they find when they are imported, as a default argument. Were it imported
    # later (optimisers do), the group would outlive `close` and abort the process while Python shuts down.
    import torch.distributed.nn  # noqa: F401

    port = variables.get("MASTER_PORT") or str(_port_of(variables))
    address = f"tcp://{variables.get('MASTER_ADDR', '127.0.0.1')}:{port}"
    backend = "nccl" if resolve_device(device, world).type == "cuda" else "gloo"
    method = "env://" if "TORCHELASTIC_RUN_ID" in variables else address  # torchrun already holds the store open
    try:
        dist.init_process_group(backend, init_method=method, rank=world.rank, world_size=world.size)
    except RuntimeError as error:  # of torch's store, or of gloo where another process leaves while this one joins
        raise ConfigError(
            f"process {world.rank} cannot meet the others on {address} ({str(error).splitlines()[0]}); "
            "set MASTER_PORT to a free port"
        ) from error
    return world


def _port_of(variables: Mapping[str, str]) -> int:
    """Where the processes of one job meet: a number that they share, and hardly with another job on this machine."""
    if "MASTER_ADDR" in variables:
        return 29500
    names = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID", "SLURM_JOB_ID", "SLURM_STEP_ID")
    job = [variables[name] for name in names if variables.get(name)]
    return 20_000 + zlib.crc32(" ".join(job or [str(os.getppid())]).encode()) % 10_000


def announced_processes(environment: Mapping[str, str] | None = None) -> int:
    """How many processes a launcher started for this run."""
    return _world_of(os.environ if environment is None else environment)[0].size


def _world_of(variables: Mapping[str, str]) -> tuple[World, bool]:
    """The world a launcher describes, and whether it spans machines as far as the launcher says."""
    for names in _LAUNCHERS.values():
        values = [variables.get(name, "") for name in names]
        if values[0].isdigit() and values[1].isdigit() and int(values[1]) > 1:
            rank, size = int(values[0]), int(values[1])
            local_rank = int(values[2]) if values[2].isdigit() else rank
            return World(rank, size, local_rank), bool(values[3]) and values[3] != values[1]
    return World(), False


def resolve_device(device: str, world: World | None = None) -> torch.device:
    """The device of this process: "auto" is its own GPU when there is one, else the CPU.

    Raises:
        ConfigError: a name torch does not know, or a device that is not there.
    """
    local_rank = world.local_rank if world is not None else 0
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device={device}: no such device; use auto, cpu, cuda or cuda:<number>") from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device={device}: torch sees no GPU here; use device=cpu or device=auto")
        chosen = torch.device("cuda", local_rank if chosen.index is None else chosen.index)
        if chosen.index >= torch.cuda.device_count():
            raise ConfigError(f"device={chosen}: there are {torch.cuda.device_count()} GPUs, numbered from 0")
        torch.cuda.set_device(chosen)
    return chosen
