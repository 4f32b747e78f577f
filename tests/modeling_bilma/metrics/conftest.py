"""How metrics are asked by several processes at once; threads with the process numbers stand for them."""

from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def in_processes():
    """`in_processes(Metric, [inputs, ...], cache_dir)`: what each process gets, of its inputs by name."""

    def in_processes(kind, shares, cache_dir):
        def compute(process):
            metric = kind(num_process=len(shares), process_id=process, cache_dir=str(cache_dir), experiment_id="test")
            metric.add_batch(**shares[process])
            return metric.compute()

        with ThreadPoolExecutor(len(shares)) as pool:
            return list(pool.map(compute, range(len(shares))))

    return in_processes
