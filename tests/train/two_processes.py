"""What several processes do together; each started as `two_processes.py FOLDER TASK` by a launcher."""

import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import torch
from rich.console import Console

from onceforall.errors import StorageError
from onceforall.supernets import Supernet, create_supernet
from onceforall.train import (
    Objective,
    RecipeConfig,
    World,
    accumulate_gradients,
    init_distributed,
    parameter_groups,
    train,
    train_step,
)

OBJECTIVE = Objective("inplace", label_ratio=0.5)


def digest(supernet: Supernet) -> str:
    state = hashlib.sha256()
    for tensor in supernet.state_dict().values():
        state.update(tensor.contiguous().numpy().tobytes())
    return state.hexdigest()


def batch(step: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(12, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.randint(5, (12,), generator=generator)


def part(tensor: torch.Tensor, world: World) -> torch.Tensor:
    return tensor.chunk(world.size)[world.rank]


def supernet_in(dtype: torch.dtype, training: bool) -> Supernet:
    supernet = create_supernet("resnet_small", 5, resolutions=[8])
    supernet.reset_parameters(0)
    return supernet.to(dtype=dtype).train(training)


def take_steps(world: World, dtype: torch.dtype, training: bool) -> Supernet:
    """Five steps of this world; a world of one sees the joint batch."""
    supernet = supernet_in(dtype, training)
    optimizer = torch.optim.SGD(parameter_groups(supernet, 1e-3), lr=0.02, momentum=0.9, nesterov=True)
    archs = [supernet.space.largest, supernet.space.smallest]
    average = world.average_gradients if world.size > 1 else None
    for step in range(5):
        images, labels = (part(tensor, world) for tensor in batch(step, dtype))
        chosen = archs if step % 2 else archs[1:]  # so that on some steps some weights have no gradient
        train_step(supernet, optimizer, images, labels, chosen, OBJECTIVE, average_gradients=average)
    return supernet


def gradient_difference(world: World) -> float:
    """Largest difference from the gradients of the joint batch, in float64 and with batch norm in eval mode."""
    ours, joint = supernet_in(torch.float64, training=False), supernet_in(torch.float64, training=False)
    archs = [ours.space.largest, ours.space.smallest, ours.space.uniform(depth=1)]
    images, labels = batch(9, torch.float64)
    accumulate_gradients(joint, images, labels, archs, OBJECTIVE)
    accumulate_gradients(ours, part(images, world), part(labels, world), archs, OBJECTIVE)
    world.average_gradients([p for p in ours.parameters() if p.grad is not None])
    pairs = zip(ours.parameters(), joint.parameters(), strict=True)
    return max(float((p.grad - q.grad).abs().max()) for p, q in pairs if p.grad is not None and q.grad is not None)


def weight_difference(world: World) -> float:
    """Largest difference between weights after five steps and those of one process on the joint batches."""
    ours, joint = (take_steps(w, torch.float64, training=False) for w in (world, World()))
    return max(float((p - q).detach().abs().max()) for p, q in zip(ours.parameters(), joint.parameters(), strict=True))


def full_disk() -> None:
    raise StorageError("disk full")


def everything(world: World) -> dict:
    supernet = take_steps(world, torch.float32, training=True)
    own_statistics = supernet.stem_bn.running_mean.clone()
    weights = [hashlib.sha256(p.detach().numpy().tobytes()).hexdigest() for p in supernet.parameters()]
    world.average_norm_statistics(supernet)
    mean = torch.stack(world.gather(own_statistics)).mean(0)
    try:
        world.from_main(full_disk)
        error = ""
    except StorageError as caught:
        error = str(caught)
    return {
        "gradient_difference": gradient_difference(world),
        "weight_difference": weight_difference(world),
        "weights_alike": len(set(map(tuple, world.gather(weights)))) == 1,
        "statistics_differ_before": len({tuple(m.tolist()) for m in world.gather(own_statistics)}) == world.size,
        "statistics_are_the_mean": torch.allclose(supernet.stem_bn.running_mean, mean),
        "agreed": world.gather(world.agree(world.rank + 5)),
        "errors": world.gather(error),
    }


def tiny_config(**changes):
    specification = importlib.util.spec_from_file_location("conftest", Path(__file__).with_name("conftest.py"))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.tiny_config(**changes)


def main() -> None:
    folder, task = Path(sys.argv[1]), sys.argv[2]
    if task == "train":
        config = tiny_config(recipe=RecipeConfig(name="progressive_shrinking"), checkpoint_minutes=0.0)
        final = digest(train(config, folder / "run", console=Console(width=150)))
        (folder / f"digest{os.environ['RANK']}").write_text(final)
        return
    world = init_distributed("cpu")
    report = everything(world) if task == "everything" else {"agreed": world.gather(world.rank)}
    if world.is_main:
        (folder / "report.json").write_text(json.dumps(report))
    world.close()


if __name__ == "__main__":
    main()
