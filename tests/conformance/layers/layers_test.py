"""Every registered layer against its definition in float64 and against torch.

Environment: CSSP_DEVICE=cuda runs all on a GPU; CSSP_CASES_TO and
CSSP_ANSWERS_FROM name a folder that run_cases.sh has worked on in between;
CSSP_CONFORMANCE=full takes the derivative of every element.  Arguments name test
methods (test_LRN)."""
import importlib.util
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import case as cases_module  # noqa: E402
import driver  # noqa: E402
from table import BEYOND_BVLC, BVLC, CASES, COVERED_ELSEWHERE  # noqa: E402
from testing import programs  # noqa: E402

DEVICE = os.environ.get("CSSP_DEVICE", "cpu")
HAS_TORCH = importlib.util.find_spec("torch") is not None


class LayerConformance(programs.ProgramTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registered = list(CASES) if driver.WRITE else driver.registered(DEVICE)

    def test_every_registered_type_has_an_entry(self):
        entries = set(CASES) | set(COVERED_ELSEWHERE)
        self.assertGreater(len(self.registered), 20)
        self.assertEqual(sorted(set(self.registered) - entries), [],
                         "layer types without an entry in tests/conformance/layers")
        for layer in set(self.registered) & set(COVERED_ELSEWHERE):
            self.assertTrue((programs.ROOT / COVERED_ELSEWHERE[layer]).exists(),
                            f"{layer}: there is no {COVERED_ELSEWHERE[layer]}")

    def test_every_type_of_caffe_is_there(self):
        self.assertEqual(len(BVLC), 61)
        types = set(BVLC + BEYOND_BVLC)
        entries = set(CASES) | set(COVERED_ELSEWHERE)
        self.assertEqual(sorted(types - entries), [], "types without an entry")
        if DEVICE == "cpu":  # what a GPU lacks is skipped by name; Python brings its layer
            self.assertEqual(sorted(types - {"Python"} - set(self.registered)), [],
                             "types that are not registered")

    def check_layer(self, layer):
        if layer not in self.registered:
            self.skip(f"{layer} is not registered on {DEVICE}")
        runs = {}  # name: (case, run)
        for case in CASES[layer]:
            for run in case.runs(layer, DEVICE):
                self.assertNotIn(run.name, runs)
                runs[run.name] = (case, run)
        if driver.WRITE:
            driver.write(layer, [run for _, run in runs.values()])
            self.skip(f"written to {driver.WRITE}")
        answers, same = driver.execute(layer, [run for _, run in runs.values()],
                                       driver.READ or self.work, DEVICE)
        self.assertTrue(same, f"{layer}: another process gives other bits")
        wrong, beside_torch = [], 0
        for name, (case, run) in runs.items():
            found = cases_module.differences(case, answers[name])
            if not found and case.torch is not None and HAS_TORCH:
                found = [f"torch: {f}" for f in
                         cases_module.torch_differences(case, answers[name])]
                beside_torch += 1
            wrong += [f"{layer}, {name}: {f}" for f in found]
        print(f"{len(CASES[layer])} cases, {len(runs)} runs, {beside_torch} beside torch ",
              end="", flush=True)
        self.assertEqual(len(wrong), 0, "\n" + "\n".join(wrong))

    def test_references_agree(self):
        """The two references of a case, without any layer."""
        if not HAS_TORCH:
            self.skip("no python3-torch: no second reference")
        compared, wrong = 0, []
        for layer, cases in CASES.items():
            for case in cases:
                if case.torch is None:
                    continue
                compared += 1
                found = cases_module.reference_differences(case)
                wrong += [f"{layer}, {case.name}: {f}" for f in found]
        print(f"{compared} cases ", end="", flush=True)
        self.assertEqual(len(wrong), 0, "\n" + "\n".join(wrong))


def _add_tests():
    for layer in CASES:
        def test(self, layer=layer):
            self.check_layer(layer)
        setattr(LayerConformance, f"test_{layer}", test)


_add_tests()

if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.argv[1:] = [f"LayerConformance.{name}" for name in sys.argv[1:]]
        import unittest
        unittest.main(verbosity=2)
    programs.main()
