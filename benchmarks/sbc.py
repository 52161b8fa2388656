"""Simulation-based calibration of the posterior of gazes: 500 scenes drawn from the model itself, then inferred.

Claim: ranks of the truth are uniform, by chi-square, for the paper's target, the one with v integrated out, and the
one with h1 summed out too (the default); each of (log s, angle, tx, ty), a projection of v, and the number of hidden
units that are on. `exact_scenes` says how scenes come from the model exactly. p-values of eighteen tests: the
least of them is below 0.003 one time in twenty.

    python benchmarks/sbc.py [SCENES] [SEED]
"""

import sys
import time

import exact_scenes as sbc
import torch

from foveate.attention.settings import PosteriorSettings

NAMES = ("log s", "angle", "tx", "ty", "v", "h1")
KEPT = 5


def main(scenes: int, seed: int) -> None:
    torch.set_num_threads(1)
    machines = {False: sbc.machine(seed), True: sbc.machine(seed, noise=2.0)}  # True: for the target "collapsed"
    begin = time.perf_counter()
    joints = {kind: sbc.draw_joint(each, scenes, seed + 1, collapsed=kind) for kind, each in machines.items()}
    print(f"{scenes} scenes of either kind in {time.perf_counter() - begin:.1f} s")
    for target in ("paper", "marginal", "collapsed"):
        settings = PosteriorSettings(chains=4, warm_up=60, draws=150, dispersion=0.1, target=target)
        begin = time.perf_counter()
        kind = target == "collapsed"
        ranks = sbc.ranks(joints[kind], machines[kind], settings, seed + 2, KEPT)
        seconds = time.perf_counter() - begin
        print(f"\n{target}: {seconds:.1f} s")
        print(f"{'':8}{'chi2':>8}{'dof':>6}{'p':>8}")
        for k, name in enumerate(NAMES):
            greatest = settings.chains * KEPT if k < 4 else settings.chains
            statistic, p = sbc.chi_square(ranks[:, k], greatest)
            print(f"{name:8}{statistic:8.1f}{greatest:6d}{p:8.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
