#!/usr/bin/python3
"""One torch training process for cpu_training.py: `torch_training.py NET LAYOUT
THREADS`, LAYOUT nchw or channels_last.  Every line on stdin, a number of
iterations, is answered by one line: for each its wall time and the processor time
of all threads, in milliseconds."""
import os
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import nets  # noqa: E402


def main():
    name, layout, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    net = nets.NETS[name]()
    model = nets.module(net, torch)
    data = torch.randn(net.batch, *net.shape)
    label = torch.randint(net.classes, (net.batch,))
    model(data, label)  # makes the lazy parameters
    with torch.no_grad():
        for p in model.parameters():
            torch.nn.init.xavier_uniform_(p) if p.dim() > 1 else p.fill_(0.1)
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    rule = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start, used = time.perf_counter(), time.process_time()
            rule.zero_grad(set_to_none=True)
            loss = model(data, label)
            loss.backward()
            rule.step()
            times += [time.perf_counter() - start, time.process_time() - used]
        assert torch.isfinite(loss)
        print(*(f"{t * 1000:.3f}" for t in times), flush=True)


main()
