"""The loop that PyTorch's users write, in eager mode; saves are `torch.save` of model and optimizer."""

from training import Task, tell, train

import torch
from torch_networks import compute_on, loss_of, network_of, optimizer_of

task = Task()


def profiled(steps):
    """Seconds of the operations by their own time, as PyTorch's profiler has them."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        steps()
    return [[event.key, event.self_cpu_time_total / 1e6] for event in profiler.key_averages()]


def main():
    device = compute_on(task)
    network = task.network
    model = network_of(network).to(device)
    optimizer = optimizer_of(network, model.parameters())
    model.train()

    def step(batch):
        loss = loss_of(model, [torch.from_numpy(part).to(device) for part in batch])
        optimizer.zero_grad()
        loss.backward()
        if "clip_norm" in network:
            torch.nn.utils.clip_grad_norm_(model.parameters(), network["clip_norm"])
        optimizer.step()
        return loss.detach()

    def save():
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, task.run_dir / "state.pt")

    def synchronize(_):
        if task.on_gpu:
            torch.cuda.synchronize()

    measured = train(task, step, synchronize, profiled, save)
    measured["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    measured["version"] = f"torch {torch.__version__}"
    if task.on_gpu:
        measured["device_peak"] = torch.cuda.max_memory_allocated()
    tell(measured)


main()
