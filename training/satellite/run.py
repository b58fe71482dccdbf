"""A training run: phases of epochs, a state to resume from after a kill, and the averaged network at the end."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from runners.engines.torch_gpu import cpu_multiplies_bfloat16
from training.satellite.recipe import Config, Data, Phase, TrainingNet, View, batches, seed_everything, training_loss


class Run:
    """Resumes from ``out/resume.pt`` if that is of the same configuration."""

    def __init__(self, data: Data, config: Config, out: Path) -> None:
        seed_everything(config.seed)
        self._data, self._config, self._resume = data, config, out / "resume.pt"
        network = TrainingNet(config, len(data.eurosat.names), len(data.aid.names))
        self._network = network.to(memory_format=torch.channels_last).to(data.device)
        averaging = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self._network, multi_avg_fn=averaging, use_buffers=True)
        self._has_bfloat16 = data.device.type != "cpu" or cpu_multiplies_bfloat16()
        self._phase, self._epochs_done = 0, 0
        self._start_phase()
        self._load()

    def finish(self) -> TrainingNet:
        """Run the remaining epochs and return the averaged network."""
        while self._epochs_done < self._current.epochs or self._phase + 1 < len(self._config.phases):
            if self._epochs_done == self._current.epochs:
                self._network.load_state_dict(self._average.module.state_dict())
                self._phase, self._epochs_done = self._phase + 1, 0
                self._start_phase()
            self._run_epoch(self._current)
            self._epochs_done += 1
            self._save()
        return cast("TrainingNet", self._average.module).eval()

    @property
    def _current(self) -> Phase:
        return self._config.phases[self._phase]

    def _start_phase(self) -> None:
        config, phase = self._config, self._current
        trained = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.SGD(
            trained, phase.rate, config.momentum, weight_decay=config.weight_decay, nesterov=True
        )
        steps = -(-config.tiles_per_epoch // config.batch)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, phase.rate, epochs=phase.epochs, steps_per_epoch=steps, pct_start=0.2
        )

    def _run_epoch(self, phase: Phase) -> None:
        config = self._config
        number = sum(earlier.epochs for earlier in config.phases[: self._phase]) + self._epochs_done
        view = View(phase.sides[self._epochs_done * len(phase.sides) // phase.epochs], phase.strength)
        name = f"epoch {number + 1}/{sum(each.epochs for each in config.phases)}"
        self._network.train()
        seen, total, started = 0, 0.0, time.monotonic()
        with tqdm(total=config.tiles_per_epoch, desc=f"{name} at {view.side} px", unit="tile") as progress:
            for batch in batches(self._data, config, number, view):
                with torch.autocast(self._data.device.type, torch.bfloat16, enabled=self._has_bfloat16):
                    loss = training_loss(self._network, batch, phase.class_loss)
                self._step(loss)
                seen += len(batch.fine)
                total += loss.item() * len(batch.fine)
                progress.update(len(batch.fine))
                progress.set_postfix(loss=f"{total / seen:.3f}")
        tqdm.write(f"{name}: loss {total / seen:.4f}, {seen / (time.monotonic() - started):.0f} tiles/s")

    def _step(self, loss: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._optimizer.step()
        self._schedule.step()
        self._average.update_parameters(self._network)

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self._network,
            "average": self._average,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
        }

    def _save(self) -> None:
        """Write the state to a temporary file and rename it, so that a kill leaves the previous state intact."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        position = {"config": asdict(self._config), "phase": self._phase, "epochs_done": self._epochs_done}
        temporary = self._resume.with_suffix(".new")
        torch.save({**position, **state}, temporary)
        temporary.replace(self._resume)

    def _load(self) -> None:
        if not self._resume.exists():
            return
        state = torch.load(self._resume, weights_only=True)
        if state["config"] != asdict(self._config):
            tqdm.write(f"{self._resume} is of another configuration: starting afresh")
            return
        self._phase, self._epochs_done = state["phase"], state["epochs_done"]
        self._start_phase()
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        tqdm.write(f"resuming after epoch {self._epochs_done} of phase {self._phase + 1}")
