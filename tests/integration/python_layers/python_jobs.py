"""What the tests of this folder share: nets with layers in Python, and their jobs."""
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
TESTING = pathlib.Path(programs.__file__).parent
CLOCKS = 12


def python(name, layer, bottoms="", tops="", more=""):
    ends = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return (f'layer {{ name: "{name}" type: "Python" {" ".join(ends)} '
            f'python_param {{ module: "layers" layer: "{layer}" param_str: "{more}" }} ')


def net(batch, middle="Weighted", param_str=""):
    return (python("data", "Records", "", "x y", batch) + "include { phase: TRAIN } }\n"
            + python("data", "Records", "", "x y", 7) + "include { phase: TEST } }\n"
            + 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {'
            ' num_output: 4 weight_filler { type: "xavier" } } }\n'
            + python("middle", middle, "ip", "middle", param_str) + "}\n"
            + 'layer { name: "out" type: "InnerProduct" bottom: "middle" top: "out" '
            'inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }\n'
            + python("loss", "SquaredLoss", "out y", "loss") + "loss_weight: 1 }\n")


SOLVER = """net: "{net}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01
max_iter: {clocks} display: 1 test_interval: 6 test_iter: 3 snapshot: {clocks}
snapshot_prefix: "{prefix}" random_seed: 5 solver_mode: CPU
"""


class PythonJob(programs.ProgramTest):

    def folder(self, name, text, clocks=CLOCKS):
        """A folder with the layers, a net and its solver."""
        folder = self.work / name
        folder.mkdir()
        shutil.copy(HERE / "layers.py", folder)
        shutil.copy(TESTING / "weighted_layer.py", folder)
        (folder / "net.prototxt").write_text(text)
        (folder / "solver.prototxt").write_text(SOLVER.format(
            net=folder / "net.prototxt", prefix=folder / "out", clocks=clocks))
        return folder

    def submit(self, folder, *flags, rc=0):
        return self.run_program(
            BIN / "psctl", f"--coordinator={self.coordinator}", "submit", "--workers=2",
            f"--solver={folder}/solver.prototxt", "--launch=mpirun", f"--log={folder}/log",
            *flags, rc=rc, timeout=120)

    def start_submit(self, folder, *flags):
        return self.start(
            BIN / "psctl", f"--coordinator={self.coordinator}", "submit", "--workers=2",
            f"--solver={folder}/solver.prototxt", "--launch=mpirun", f"--log={folder}/log",
            *flags, log=folder / "psctl.log")

    def progress(self, folder, rank):
        """pid and clocks of the process that has (last) had this rank."""
        files = sorted(folder.glob(f"calls.{rank}.*"), key=lambda path: path.stat().st_mtime)
        return (int(files[-1].suffix[1:]), int(files[-1].read_text() or 0)) if files else (0, 0)

    def await_progress(self, folder, rank, after=0, clocks=5):
        def there():
            pid, calls = self.progress(folder, rank)
            return pid not in (0, after) and calls >= clocks
        self.assertTrue(programs.wait_for(there, 60), (folder / "log").read_text()[-3000:])
        return self.progress(folder, rank)[0]
